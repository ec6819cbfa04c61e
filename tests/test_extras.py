"""Without an extra, modules of tests that need it are skipped; a core that needs it is still an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")


@pytest.mark.slow
def test_only_what_tests_import_themselves_is_skipped(tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"), encoding="utf-8")
    for helper in (tests / "helper.py", tmp_path / "core.py"):
        helper.write_text("import package_of_an_extra\n", encoding="utf-8")
    lines = {
        "itself": "from package_of_an_extra.part import name",
        "by_helper": "import helper",
        "by_core": "import core",
    }
    for name, line in lines.items():
        (tests / f"test_{name}.py").write_text(f"{line}\n\ndef test_nothing():\n    pass\n", encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-rsE", "-p", "no:cacheprovider", "--rootdir", tmp_path, tests],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(tests)])},
    )
    printed = run.stdout.splitlines()
    assert [line for line in printed if line.startswith("ERROR")] == ["ERROR tests/test_by_core.py"], run.stdout
    assert "2 skipped, 1 error" in printed[-1], run.stdout
    assert "needs package_of_an_extra, of an extra" in run.stdout
