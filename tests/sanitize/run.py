"""Build the kernels with sanitizers and run Python on them: `make sanitize`, `make fuzz`. Linux, GCC or Clang.

    python tests/sanitize/run.py address,undefined -m pytest tests/ops

The build lives in build/sanitize-*, beside a package made of links to src, so that nothing that is installed changes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUPPRESSIONS = Path(__file__).with_name("thread.supp")
OPTIONS = {
    # The interpreter frees little at its end; a failed malloc is numpy's MemoryError. (C++'s new dies all the same.)
    "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    # A test forks and lets the child start threads.
    "TSAN_OPTIONS": f"halt_on_error=1:die_after_fork=0:suppressions={SUPPRESSIONS}",
    # PyTorch's threads are not instrumented: what they hand each other looks like races.
    "OMP_NUM_THREADS": "1",
}
PLANTED = {
    "address": """
import numpy as np
from geneface.ops.native import kernels
kernels().to_uint8(np.zeros((64, 64, 3), np.float32), np.zeros((1, 1, 3), np.uint8))
""",
    "thread": """
import threading
import numpy as np
from geneface import ops
arrays = [np.ones((20, 5000), np.float32) for _ in range(4)]
step = lambda: [ops.adam(*arrays, step=1, lr=0.1) for _ in range(50)]
threads = [threading.Thread(target=step) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""",
}
"""Programs with a fault inside of the kernels: out of bounds; two callers that write the same arrays."""


def build(sanitizers: str) -> Path:
    """Compile into a folder of its own; the folder."""
    folder = ROOT / "build" / f"sanitize-{sanitizers.replace(',', '-')}"
    configure = ["cmake", "-S", ROOT, "-B", folder, f"-DPython_EXECUTABLE={sys.executable}"]
    if shutil.which("ninja") and not (folder / "CMakeCache.txt").exists():
        configure += ["-G", "Ninja"]
    configure += ["-DCMAKE_BUILD_TYPE=Release", f"-DGENEFACE_SANITIZE={sanitizers}"]
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", folder, "--parallel"], check=True, stdout=subprocess.DEVNULL)
    return folder


def link_package(folder: Path) -> Path:
    """geneface with the module of this build, in a folder for PYTHONPATH."""
    package = folder / "package" / "geneface"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    for entry in (ROOT / "src" / "geneface").iterdir():
        if not entry.name.startswith(("_native", "__pycache__")):
            (package / entry.name).symlink_to(entry)
    for module in folder.glob("_native.*"):
        (package / module.name).symlink_to(module)
    return package.parent


def runtimes(folder: Path) -> str:
    """The libraries that have to be in the process before the interpreter, which is linked to neither of them."""
    cache = (folder / "CMakeCache.txt").read_text(encoding="utf-8")
    compiler = re.findall(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache, re.MULTILINE)[0]
    module = next((folder / "package" / "geneface").glob("_native.*"))
    needed = subprocess.run(["ldd", module], check=True, capture_output=True, text=True).stdout
    # The sanitizer comes first; libstdc++ second, because it wraps the throwing of exceptions.
    names = re.findall(r"\b(lib(?:clang_rt\.)?[at]san\S*)", needed)[:1] + re.findall(r"\b(libstdc\+\+\S*)", needed)[:1]
    paths = [
        subprocess.run([compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True).stdout
        for name in names
    ]
    return " ".join(path.strip() for path in paths)


def without_random_addresses() -> list[str]:
    """Older thread sanitizers find no room for their shadow memory where addresses are too random."""
    command = ["setarch", os.uname().machine, "-R"]
    try:
        return command if subprocess.run([*command, "true"], capture_output=True).returncode == 0 else []
    except FileNotFoundError:
        return []


def main() -> int:
    sanitizers, *arguments = sys.argv[1:]
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])  # its cmake
    folder = build(sanitizers)
    package = link_package(folder)
    environment = {**os.environ, **OPTIONS, "PYTHONPATH": os.pathsep.join([str(package), str(ROOT / "tests")])}
    environment |= {"LD_PRELOAD": runtimes(folder), "GENEFACE_SANITIZE": sanitizers}
    python = [*without_random_addresses(), sys.executable]
    planted = PLANTED[sanitizers.split(",")[0]]
    found = subprocess.run([*python, "-c", planted], env=environment, capture_output=True, text=True)
    if found.returncode == 0 or "Sanitizer" not in found.stderr:
        print(f"the build with {sanitizers} does not see a planted fault:\n{found.stderr}", file=sys.stderr)
        return 1
    return subprocess.run([*python, *arguments], env=environment, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
