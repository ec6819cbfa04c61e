"""batch: each row by itself, done is what was made of the same bytes, and true words at the end."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from geneface.apps.table import read_table
from geneface.avatar.avatar import Avatar
from geneface.errors import InputError
from geneface.io.image import write_png
from geneface.io.work import exclusive_folder

from ..avatar.avatar_fixtures import speech
from .conftest import Run, command, environment


def _visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _jobs(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
def test_batch_skips_what_is_done_and_reports_failures(
    run: Run, avatar_folder: Path, sound: Path, tmp_path: Path
) -> None:
    (tmp_path / "speech.wav").write_bytes(sound.read_bytes())
    jobs = _jobs(
        tmp_path / "jobs.csv",
        "avatar,audio,out,size,blink",
        f"{avatar_folder},speech.wav,,,",
        f"{avatar_folder},missing.wav,other.mp4,96,off",
        f"{avatar_folder},speech.wav,third.mp4,96,off",
    )
    out = tmp_path / "videos"
    first = run("batch", jobs, "-o", out, "--json")
    first.refused("1 of 3 jobs failed", "failures.csv")
    assert json.loads(first.out)["rendered"] == 2
    assert _visible(out) == ["done.json", "failures.csv", "speech.mp4", "third.mp4"]
    assert "missing.wav" in (out / "failures.csv").read_text()
    stamp = (out / "third.mp4").stat().st_mtime_ns
    (tmp_path / "missing.wav").write_bytes(sound.read_bytes())
    second = run("batch", jobs, "-o", out)
    assert second.code == 0 and "1 rendered, 2 done before, 0 failed" in second.out
    assert (out / "third.mp4").stat().st_mtime_ns == stamp
    assert "failures.csv" not in _visible(out)


@pytest.mark.slow
def test_a_changed_row_is_rendered_again(run: Run, avatar_folder: Path, sound: Path, tmp_path: Path) -> None:
    for seed, expected in ((0, "1 rendered"), (0, "0 rendered, 1 done"), (1, "1 rendered")):
        jobs = _jobs(tmp_path / "jobs.csv", "avatar,audio,seed", f"{avatar_folder},{sound},{seed}")
        assert expected in run("batch", jobs, "-o", tmp_path / "videos").out


@pytest.mark.parametrize(
    "lines, words",
    [
        (("avatar,sound", "a,b"), ("sound",)),
        (("audio", "b"), ("avatar",)),
        (("avatar,audio",), ("no jobs",)),
        (("avatar,audio,size", "a,b.wav,wide"), ("line 2, column size:", "pixels or 'source'")),
        (("avatar,audio,out", "a,b.wav,../../x.mp4"), ("line 2", "out")),
        (("avatar,audio,out", "a,b.wav,.."), ("line 2", "..")),
        (("avatar,audio,out", "a,b.wav,done.json"), ("line 2", "done.json", ".mp4")),
        (
            ("avatar,audio,out", "a,b.wav,two.webm"),
            ("wrong (two.webm is no name for mp4, it ends in .mp4; for webm-alpha write that in a column format)",),
        ),
        (("avatar,audio,audio", "a,b.wav,c.wav"), ("twice",)),
        (("",), ("lacks",)),
        (("avatar,audio", "a,b.wav,c,d"), ("line 2", "columns")),
        (("avatar,audio", ",b.wav"), ("line 2", "avatar")),
    ],
)
def test_wrong_jobs_files_are_refused_with_their_line(
    run: Run, tmp_path: Path, lines: tuple[str, ...], words: tuple[str, ...]
) -> None:
    run("batch", _jobs(tmp_path / "jobs.csv", *lines), "-o", tmp_path / "videos").refused("jobs.csv", *words)
    assert not (tmp_path / "videos").exists()


def test_jobs_read_as_text_only(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_table(tmp_path / "jobs.csv")


# ---- each row by itself


def _failures(out: Path) -> dict[int, str]:
    with open(out / "failures.csv", newline="", encoding="utf-8") as file:
        return {int(row["line"]): row["reason"] for row in csv.DictReader(file)}


BAD_LINES = [
    (b"%s,a\0b.wav,n.mp4", "null character"),
    (b"%s," + b"x" * 200_000 + b",n.mp4", "characters"),
    (b"%s," + b"x" * 5000 + b",n.mp4", "5000 characters"),
    (b"%s," + b"x" * 300 + b".wav,n.mp4", "does not exist or can't be reached"),
    (b"%s,caf\xe9.wav,n.mp4", "not UTF-8"),
    (b'%s,"speech.wav,n.mp4', "quote"),
    (b'%s,"speech".wav,n.mp4', "quote"),
    (b"%s,speech.wav,n.mp4,1", "more values than columns"),
    (b"%s,speech.wav,../n.mp4", "column out"),
    (b"%s,speech.wav,n.gif", ".mp4"),
    (b"%s,speech.wav,GOOD.mp4", "twice"),
    (b"nobody,speech.wav,n.mp4", "there is no avatar"),
    (b"%s,folder,n.mp4", "is a folder"),
    (b"%s,pipe,n.mp4", "not a regular file"),
    (b"%s,empty.wav,n.mp4", "is empty"),
    (b",speech.wav,n.mp4", "column avatar"),
]


@pytest.fixture
def table_folder(sound: Path, avatar_folder: Path, tmp_path: Path) -> Path:
    """A folder with what rows may name."""
    folder = tmp_path / "table"
    folder.mkdir()
    shutil.copyfile(sound, folder / "speech.wav")
    shutil.copytree(avatar_folder, folder / "me")
    (folder / "folder").mkdir()
    (folder / "empty.wav").touch()
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="needs a named pipe")
def test_a_fault_in_a_row_costs_that_row(run: Run, table_folder: Path) -> None:
    """All kinds of faults in one table, with a good row before, between and behind them."""
    lines = [b"avatar,audio,out", b"me,speech.wav,good.mp4"]
    for number, (line, _) in enumerate(BAD_LINES):
        lines.append(line.replace(b"%s", b"me").replace(b"n.mp4", b"n%d.mp4" % number))
    lines += [b"", b",,", b"  ,", b"me,speech.wav,last.mp4", b","]
    table, out = table_folder / "jobs.csv", table_folder / "videos"
    table.write_bytes(b"\r\n".join(lines))
    run("batch", table, "-o", out).refused(f"{len(BAD_LINES)} of {len(BAD_LINES) + 2} jobs failed", "line 3")
    reasons = _failures(out)
    assert list(reasons) == list(range(3, 3 + len(BAD_LINES)))
    for (_, words), reason in zip(BAD_LINES, reasons.values(), strict=True):
        assert words in reason and len(reason) < 1000, reason
    assert _visible(out) == ["done.json", "failures.csv", "good.mp4", "last.mp4"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tables_as_spreadsheets_write_them(tmp_path: Path, encoding: str, delimiter: str, end: str) -> None:
    head = ["Avatar", "audio", "mouth_gain", "style", ""]
    rows = [head, ["me", "Größe; ab, c\u2028d.wav", "1.5", "a,b", ""], ["", "", "", "", ""]]
    if delimiter != ",":
        rows[1][2] = "1,5"
    path = tmp_path / "jobs.csv"
    with open(path, "w", newline="", encoding=encoding) as file:
        if delimiter == ";":
            file.write(f"sep=;{end}")
        csv.writer(file, delimiter=delimiter, lineterminator=end).writerows(rows)
    (row,) = read_table(path)
    assert row.job is not None and row.job.mouth_gain == 1.5 and row.job.style == "a,b"
    assert (
        row.job.audio is not None
        and row.job.audio.name == "Größe; ab, c\u2028d.wav"
        and row.job.file_name == "Größe; ab, c\u2028d.mp4"
    )


def test_a_crash_in_a_row_is_ours_and_the_next_goes_on(
    run: Run, table_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = Avatar.render

    def sometimes(self: Avatar, audio: Path, out: Path, *args: object, **options: object) -> int:
        if out.name == "one.mp4":
            raise KeyError("strange")
        if out.name == "two.mp4":
            raise MemoryError
        return render(self, audio, out, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Avatar, "render", sometimes)
    names = ("one", "two", "three")
    table = _jobs(table_folder / "jobs.csv", "avatar,audio,out", *(f"me,speech.wav,{name}.mp4" for name in names))
    outcome = run("batch", table, "-o", table_folder / "out")
    assert outcome.code == 1 and outcome.err.count("\n") == 1 and "2 of 3 jobs failed" in outcome.err
    reasons = _failures(table_folder / "out")
    assert "fault of geneface's own (KeyError" in reasons[2] and "not enough memory" in reasons[3]
    assert "three.mp4" in _visible(table_folder / "out")
    assert "Traceback" in run("--debug", "batch", table, "-o", table_folder / "out").err


@pytest.mark.slow
def test_paths_are_seen_from_the_tables_folder(
    run: Run, table_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_png(table_folder / "wall.png", np.full((8, 8, 3), 200, np.uint8))
    table = _jobs(
        table_folder / "jobs.csv",
        "avatar,audio,out,background",
        "me,speech.wav,a.mp4,wall.png",
        "me,speech.wav,b.mp4,white",
        f"{table_folder / 'me'},{table_folder / 'speech.wav'},c.mp4,{table_folder / 'wall.png'}",
    )
    outcome = run("batch", table, "-o", "videos", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out) == {"rendered": 3, "skipped": 0, "failed": []}


# ---- done


@pytest.mark.slow
def test_done_is_what_was_made_of_the_same_bytes(run: Run, table_folder: Path) -> None:
    write_png(table_folder / "wall.png", np.full((8, 8, 3), 200, np.uint8))
    table = _jobs(table_folder / "jobs.csv", "avatar,audio,background", "me,speech.wav,wall.png")
    out = table_folder / "out"

    def again() -> str:
        outcome = run("batch", table, "-o", out)
        assert outcome.code == 0, outcome.err
        return outcome.out.split(",")[0]

    assert again() == "1 rendered" and again() == "0 rendered"
    times = (table_folder / "speech.wav").stat()
    soundfile.write(table_folder / "speech.wav", -speech(2.0), 16_000, subtype="FLOAT")
    os.utime(table_folder / "speech.wav", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (table_folder / "speech.wav").stat().st_size == times.st_size
    assert again() == "1 rendered" and again() == "0 rendered"
    write_png(table_folder / "wall.png", np.full((8, 8, 3), 10, np.uint8))
    assert again() == "1 rendered" and again() == "0 rendered"
    config = json.loads((table_folder / "me" / "config.json").read_text())
    (table_folder / "me" / "config.json").write_text(json.dumps(config | {"name": "you"}))
    assert again() == "1 rendered" and again() == "0 rendered"
    # The card's figures are not in the picture; nor is another name for the same files.
    (table_folder / "me" / "metrics.json").write_text("{}")
    shutil.copytree(table_folder / "me", table_folder / "copy")
    _jobs(table, "avatar,audio,background", "copy,./speech.wav,wall.png")
    assert again() == "0 rendered"
    with open(out / "speech.mp4", "r+b") as file:
        file.truncate(100)
    assert again() == "1 rendered"
    for damage in (b"", b"[1]", b"{", b'{"speech.mp4": "x"}', b"\xff\xff"):
        (out / "done.json").write_bytes(damage)
        assert again() == "1 rendered" and again() == "0 rendered"
    (out / "speech.mp4").unlink()
    assert again() == "1 rendered"


def test_outputs_that_would_replace_inputs(run: Run, table_folder: Path) -> None:
    shutil.copyfile(table_folder / "speech.wav", table_folder / "talk.mp4")
    before = (table_folder / "talk.mp4").read_bytes()
    table = _jobs(table_folder / "jobs.csv", "avatar,audio,out", "me,speech.wav,talk.mp4", "me,talk.mp4,b.mp4")
    run("batch", table, "-o", table_folder).refused("1 of 2", "the sound of line 3")
    assert (table_folder / "talk.mp4").read_bytes() == before and (table_folder / "b.mp4").is_file()


def test_two_batches_in_one_folder(run: Run, table_folder: Path) -> None:
    table = _jobs(table_folder / "jobs.csv", "avatar,audio", "me,speech.wav")
    with exclusive_folder(table_folder / "out"):
        run("batch", table, "-o", table_folder / "out").refused("another run")
    run("batch", table, "-o", table_folder / "empty.wav").refused("empty.wav")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX systems")
def test_an_interrupted_batch_says_how_far_it_got(table_folder: Path, long_sound: Path) -> None:
    shutil.copyfile(long_sound, table_folder / "long.wav")
    table = _jobs(
        table_folder / "jobs.csv", "avatar,audio,size", "me,speech.wav,64", "me,long.wav,1024", "me,gone.wav,"
    )
    out = table_folder / "out"
    words = command("batch", table, "-o", out)
    process = subprocess.Popen(
        words,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not list(out.glob(".long*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == f"geneface: interrupted: 1 of 3 outputs are in {out}, go on with: geneface batch {table} -o {out}\n"
    assert _visible(out) == ["done.json", "speech.mp4"]
