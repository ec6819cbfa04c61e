"""The shell around the commands: help, exit statuses, one-sentence errors, quick start."""

from __future__ import annotations

import errno
import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from geneface import __version__
from geneface.apps import diagnosis
from geneface.apps.options import parse_duration
from geneface.avatar.avatar import Avatar
from geneface.errors import InputError

from ..corpus.corpus_fixtures import make_corpus
from .conftest import Run, environment

COMMANDS = [
    ["doctor"], ["demo"], ["check"], ["prepare"], ["train"], ["render"], ["batch"], ["evaluate"], ["compare"],
    ["corpus", "prepare"], ["corpus", "voices"], ["pretrain", "sync"], ["pretrain", "motion"], ["pretrain", "speech"], ["pretrain", "lip-sync"],
    ["convert-weights"], ["bench"], ["serve"],
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_an_example(run: Run, words: list[str]) -> None:
    outcome = run(*words, "--help")
    assert outcome.code == 0
    assert f"Example: geneface {' '.join(words)}" in " ".join(outcome.out.split())


def test_all_commands_are_listed_and_none_else(run: Run) -> None:
    listed = run("--help").out.split("Commands:")[1].splitlines()
    assert {line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "} == {
        words[0] for words in COMMANDS
    }
    assert not [line for line in listed if line.endswith("...")], "a line of help that is cut off says little"
    assert run("--version").out.strip() == f"geneface {__version__}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["dance"], ["render"], ["render", "x", "--colour"], ["train", "x", "-o", "y"], ["pretrain", "cats"]]
)
def test_bad_usage_exits_2_without_a_traceback(run_process: Run, words: list[str]) -> None:
    outcome = run_process(*words)
    outcome.refused("see 'geneface", "--help'")


def test_an_old_name_of_a_command_still_works(run: Run) -> None:
    outcome = run("pretrain", "judge", "--help")
    assert outcome.code == 0 and "Example: geneface pretrain lip-sync" in " ".join(outcome.out.split())
    assert outcome.err.count("'judge' is called 'lip-sync' now") == 1
    assert "judge" not in run("pretrain", "--help").out


def test_a_group_without_a_command_shows_its_help(run: Run) -> None:
    for words in ((), ("corpus",)):
        outcome = run(*words)
        assert outcome.code == 2 and "Commands:" in outcome.err


@pytest.mark.slow
def test_a_corpus_gets_voices(run: Run, tmp_path: Path) -> None:
    clips, corpus = tmp_path / "ann", tmp_path / "corpus"
    make_corpus(clips, corpus)
    made = run("corpus", "voices", corpus, clips, "--augmentations", 1, "--held-vowels", 0, "--non-speech", 3, "--json")
    assert json.loads(made.out) == {"out": str(corpus), "recordings": 12, "misaligned": 0}
    again = run("corpus", "voices", corpus, clips, "--disguises", 1, "--holds", 0, "--quiet", 3)
    assert "12 more recordings" in again.out
    for old, new in (("disguises", "augmentations"), ("holds", "held-vowels"), ("quiet", "non-speech")):
        assert f"{old!r} is called {new!r} now" in again.err
    run("corpus", "voices", corpus, clips, "--speakers", "af_heart").refused("words", "--voice-folder")
    (tmp_path / "words.json").write_text("{}")
    options = ("--words", tmp_path / "words.json", "--voice-folder", tmp_path, "--speakers", "af_heart")
    run("corpus", "voices", corpus, clips, *options).refused("voice folder")
    run("corpus", "voices", corpus, tmp_path / "nowhere").refused("nowhere")


@pytest.mark.slow
def test_a_corpus_is_prepared(run: Run, tmp_path: Path) -> None:
    clips, corpus = tmp_path / "ann", tmp_path / "corpus"
    make_corpus(clips, corpus)
    (corpus / "manifest.json").unlink()
    made = run("corpus", "prepare", clips, "-o", corpus, "--encoder", "mel", "--workers", 1, "--resume", "--json")
    assert json.loads(made.out) == {"out": str(corpus), "clips": 10, "heldout": 1, "speakers": 1, "dropped": []}
    assert f"layout of {clips}: generic; 10 videos of 1 speakers, 1 of them held out" in made.err
    run("corpus", "prepare", clips, "-o", tmp_path / "c", "--layout", "lrs3").refused("lrs3", "--layout")
    run("corpus", "prepare", clips, "-o", tmp_path / "c", "--layout", "vox").refused("vox", "mead")
    run("corpus", "prepare", clips, "-o", tmp_path / "c", "--ray", "127.0.0.1:1").refused("127.0.0.1:1", "ray start")
    assert not (tmp_path / "c").exists()


@pytest.mark.slow
def test_help_needs_no_heavy_import() -> None:
    program = "import sys; from geneface.apps.cli import app; print([m for m in ('av', 'onnxruntime', 'torch', 'mediapipe') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.strip() == "[]"


def _raise(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "error, code, words",
    [
        (InputError("the cause", "the remedy", "at 3.20 s"), 2, "the cause at 3.20 s: the remedy"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2, ".[train]"),
        (ModuleNotFoundError("No module named 'skimage.x'", name="skimage.x"), 2, ".[metrics]"),
        (OSError(errno.ENOSPC, "No space left on device", "a.bin"), 2, "a.bin, the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "b.bin"), 2, "b.bin"),
        (RuntimeError("two\nlines"), 1, "two lines"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_exceptions_become_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException, code: int, words: str
) -> None:
    monkeypatch.setattr(Avatar, "load", _raise(error))
    outcome = run("render", "x", "--audio", tmp_path, "-o", tmp_path / "a.mp4")
    assert outcome.code == code
    assert len(outcome.err.strip().splitlines()) == 1 and words in outcome.err
    assert "Traceback" not in outcome.err


def test_debug_shows_the_traceback(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Avatar, "load", _raise(RuntimeError("deep inside")))
    outcome = run("--debug", "render", "x", "--audio", tmp_path, "-o", tmp_path / "a.mp4")
    assert outcome.code == 1 and "Traceback" in outcome.err and "deep inside" in outcome.err


def test_an_interrupted_training_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from geneface.portrait.portrait import Portrait

    monkeypatch.setattr(Portrait, "load", _raise(KeyboardInterrupt()))
    outcome = run("train", tmp_path, "-o", tmp_path / "new one", "--consent", "mine", "--preset", "tiny")
    assert outcome.code == 130
    assert (
        f"resume with: geneface train {tmp_path} -o '{tmp_path / 'new one'}' --consent mine --preset tiny --resume"
        in outcome.err
    )


@pytest.mark.parametrize("text, seconds", [("90s", 90), ("15m", 900), ("1h30m", 5400), ("1.5m", 90), (" 2M ", 120)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_a_duration_without_a_unit_is_not_guessed() -> None:
    with pytest.raises(InputError, match="'5' has no unit: write it with s, m or h"):
        parse_duration("5")


@pytest.mark.parametrize("text", ["", "0", "0s", "soon", "-5", "5d", "m5", "9" * 400])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InputError, match="15m"):
        parse_duration(text)


def test_what_is_for_text_is_not_ignored_with_a_sound(run: Run, tmp_path: Path) -> None:
    sound, out = tmp_path / "a.wav", tmp_path / "a.mp4"
    options = {"--lang": "xx", "--voice": "af_heart", "--voice-folder": tmp_path, "--voice-url": "http://127.0.0.1"}
    for option, value in options.items():
        outcome = run("render", "grid-s1", "--audio", sound, "-o", out, option, value)
        outcome.refused(f"{option} is for --text")


def test_check_says_an_error_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "talk.mp4").write_text("no video\n" * 50)
    outcome = run("check", tmp_path / "talk.mp4")
    outcome.refused("talk.mp4")
    assert outcome.out == ""


@pytest.mark.slow
def test_missing_paths_are_named(run: Run, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    run("train", nowhere, "-o", tmp_path / "a", "--consent", "mine").refused("nowhere")
    run("train", tmp_path, "-o", tmp_path / "a", "--consent", "  ").refused("--consent")
    run("train", tmp_path, "-o", tmp_path / "a", "--consent", "mine", "--preset", "best").refused("best", "tiny")
    run("train", tmp_path, "-o", tmp_path / "a", "--consent", "mine", "--budget", "soon").refused("soon")
    run("train", tmp_path, "-o", tmp_path / "a", "--consent", "mine", "--renderer", "mesh").refused(
        "mesh", "gaussian", "nerf"
    )
    run("train", tmp_path, "-o", tmp_path / "a", "--consent", "mine").refused("manifest.json")
    run("evaluate", "nobody", "-o", tmp_path / "r").refused("nobody")
    run("compare", nowhere, nowhere).refused("nowhere")
    run("corpus", "prepare", nowhere, "-o", tmp_path / "c").refused("nowhere")
    run("prepare", nowhere, "-o", tmp_path / "p").refused("nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_a_training_would_be_refused_for_at_its_end(run: Run, tmp_path: Path) -> None:
    """Name, licence and place, before even the portrait is looked at."""

    def refused(*words: str, out: object = tmp_path / "a", **options: str) -> None:
        flat = [part for name, value in {"consent": "mine", **options}.items() for part in (f"--{name}", value)]
        run("train", tmp_path, "-o", out, *flat).refused(*words)

    refused("300 letters", out=tmp_path / ("n" * 300))
    refused("201 letters", out=tmp_path / ("n" * 201))
    refused("--licence", licence="")
    refused("--licence", licence="  ")
    refused("--licence", licence="x" * 501)
    refused("--attribution", attribution="x" * 2001)
    refused("--consent", consent="x" * 5001)
    refused("--consent", consent="caf\udce9")
    refused("not a name", out=".")
    refused("not a name", out="..")
    refused("exists already", out="/dev/null")
    (tmp_path / "loop").symlink_to("loop")
    refused("leads back to itself", out=tmp_path / "loop")
    (tmp_path / "loop").unlink()
    assert list(tmp_path.iterdir()) == []


def test_a_training_is_refused_on_a_small_disk(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=30 << 20))
    run("train", tmp_path, "-o", tmp_path / "new" / "a", "--consent", "mine").refused("only 30 MB", "free")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_evaluating_an_avatar_without_its_portrait(run: Run, avatar_folder: Path, tmp_path: Path) -> None:
    outcome = run("evaluate", avatar_folder, "-o", tmp_path / "report", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out) == json.loads((tmp_path / "report" / "metrics.json").read_text())


def test_doctor_tells_programs_and_people(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "_speed", lambda: {"256_px": 40.0})
    facts = json.loads(run("doctor", "--json").out)
    assert facts["versions"]["geneface"] == __version__
    assert facts["codecs"]["libx264"] == "yes"
    assert set(facts) >= {"machine", "kernels", "extras", "bundled", "expected_frames_per_second", "problems"}
    monkeypatch.setattr(diagnosis, "_EXTRAS", {"train": ("no_such_module",)})
    said = run("doctor").out
    assert "libx264: yes" in said
    assert "train: not installed (in the project's folder: pip install '.[train]')" in said
    assert said.endswith("problems\n  none\n")


def test_doctor_names_the_processor_where_linux_does(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Acme 3000 @ 2:1\nprocessor\t: 1\n")
    assert diagnosis._processor(tmp_path / "cpuinfo").endswith(", Acme 3000 @ 2:1")
    assert diagnosis._processor(tmp_path / "none") == platform.machine()


def test_doctor_reports_what_is_broken(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis.ops, "available_instruction_sets", _raise(ImportError("no kernels")))
    outcome = run("doctor", "--json")
    assert outcome.code == 2 and json.loads(outcome.out)["problems"]["kernels"] == "no kernels"


def test_progress_is_silent_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    from geneface.apps.progress import progress_bars

    with progress_bars() as progress:
        progress("stage", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_progress_draws_a_bar_a_stage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from geneface.apps.progress import progress_bars

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bars() as progress:
        progress("one", 1, 2)
        progress("two", 3, 0)
        progress("one", 2, 2)
    written = capsys.readouterr()
    assert written.out == "" and "one" in written.err and "2/2" in written.err


def test_a_bar_whose_total_is_not_known_shows_no_count(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from geneface.apps.progress import progress_bars

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bars() as progress:
        progress("unknown", 0, 0)
        progress("one step", 0, 1)
    written = capsys.readouterr().err
    assert "unknown" in written and "one step" in written
    assert "/" not in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written)


def test_help_names_the_choices_that_there_are(run: Run) -> None:
    """Options that are checked before anything is imported hold a list of their own: it must be the real one."""
    from geneface.avatar.avatar import FORMATS
    from geneface.render.registry import RENDERERS
    from geneface.training.presets import Preset

    for words, option, choices in (
        (("train",), "--preset", get_args(Preset)),
        (("train",), "--renderer", tuple(sorted(RENDERERS))),
        (("render",), "--format", FORMATS),
        (("render",), "--blink", ("auto", "off")),
    ):
        shown = re.compile(rf"{option} [<\[]{re.escape('|'.join(choices))}[>\]]")
        assert shown.search(" ".join(run(*words, "--help").out.split())), option


def test_help_imports_no_numbers_and_no_settings() -> None:
    program = "import sys; from geneface.apps.cli import app; print([m for m in ('numpy', 'pydantic', 'rich.console') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.strip() == "[]"
