"""How good avatars of ordinary videos are, one Markdown row a person: prepare, train, evaluate on held-out frames.

    python benchmarks/people.py VIDEO... -o people --consent TEXT [--size 512] [--preset good] [--renderer nerf]
        [--max-frames 300]

Each VIDEO, or folder of clips, is one person, called by the name of the file. The PSNR are of whole frame, head and
mouth: drawn from speech, drawn from tracked landmarks, and pasted into the recording from speech (where most of frame
and head is real). Sharpness is over the ground truth's. A person's folder in the output holds portrait, avatar and
report; what is whole there is not done again. A person whose video is refused gets no row, and the status is 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SPEECH, LANDMARKS = "from speech", "from tracked landmarks"
PASTED = f"pasted, {SPEECH}"
PSNR = tuple((f"image_{region}", f"{region}_psnr") for region in ("frame", "head", "mouth"))
COLUMNS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("PSNR of frame / head / mouth, drawn from speech", SPEECH, PSNR),
    ("drawn from landmarks", LANDMARKS, PSNR),
    ("pasted from speech", PASTED, PSNR),
    ("sharpness of the frame, drawn from speech", SPEECH, (("image_frame", "frame_sharpness_ratio"),)),
    ("of the mouth, drawn from speech", SPEECH, (("image_mouth", "mouth_sharpness_ratio"),)),
    ("of the mouth, pasted from speech", PASTED, (("image_mouth", "mouth_sharpness_ratio"),)),
    ("seam: step, levels", PASTED, (("pasted", "seam_step"),)),
    ("seam: error ratio", PASTED, (("pasted", "seam_error_ratio"),)),
    ("seam: flicker / truth's", PASTED, (("pasted", "seam_flicker_ratio"),)),
)
"""Heading, end of the row's name in metrics.json, (table, key) of each figure."""
TRAINING_FILE = "training.json"


def run(*arguments: str) -> None:
    """One command of the product, as a user would give it."""
    print("geneface", *arguments, file=sys.stderr)
    subprocess.run([sys.executable, "-m", "geneface", *arguments], check=True)


def evaluated(video: Path, folder: Path, arguments: argparse.Namespace) -> tuple[dict[str, Any], float | None]:
    """The content of metrics.json, and seconds of training; None if it was interrupted, so that nobody knows."""
    portrait, avatar, report = (folder / part for part in ("portrait", "avatar", "report"))
    folder.mkdir(parents=True, exist_ok=True)
    if not (portrait / "manifest.json").exists():
        run("prepare", str(video), "-o", str(portrait), "--size", str(arguments.size), "--resume")
    if not (avatar / "config.json").exists():
        _train(portrait, avatar, folder, arguments)
    if not (report / "metrics.json").exists():
        frames = ("--max-frames", str(arguments.max_frames), "--no-driven")
        run("evaluate", str(avatar), "--portrait", str(portrait), "-o", str(report), *frames)
    known = folder / TRAINING_FILE
    seconds = json.loads(known.read_text(encoding="utf-8"))["seconds"] if known.exists() else None
    return json.loads((report / "metrics.json").read_text(encoding="utf-8")), seconds


def _train(portrait: Path, avatar: Path, folder: Path, arguments: argparse.Namespace) -> None:
    begun = folder / "training.begun"
    is_first = not begun.exists()
    begun.touch()
    start = time.monotonic()
    options = ("--preset", arguments.preset, "--renderer", arguments.renderer, "--consent", arguments.consent)
    run("train", str(portrait), "-o", str(avatar), *options, "--resume")
    if is_first:
        text = json.dumps({"seconds": round(time.monotonic() - start, 1)})
        (folder / TRAINING_FILE).write_text(text, encoding="utf-8")


def row(name: str, metrics: dict[str, Any], seconds: float | None) -> str:
    """A person's line of the table."""
    tables = metrics["tables"]
    cells = [
        " / ".join(
            _cell(tables.get(table, {"rows": []})["rows"], f"{metrics['subject']}, {end}", key) for table, key in keys
        )
        for _, end, keys in COLUMNS
    ]
    return f"| {' | '.join([name, *cells, 'n/a' if seconds is None else f'{seconds:.0f}'])} |"


def _cell(rows: Sequence[dict[str, Any]], name: str, key: str) -> str:
    figures = next((entry["figures"] for entry in rows if entry["name"] == name), {})
    value = figures.get(key, {}).get("value")
    return "n/a" if value is None else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def heading() -> list[str]:
    """The first two lines of the table."""
    titles = ["person", *(title for title, _, _ in COLUMNS), "training, s"]
    return [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of all that is made")
    parser.add_argument("--consent", required=True, help="who agreed to these avatars, and how")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--renderer", default="gaussian")
    parser.add_argument("--max-frames", type=int, default=300)
    arguments = parser.parse_args()
    names = [video.stem for video in arguments.videos]
    if len(set(names)) < len(names):
        parser.error("two of the videos have the same name")
    lines, refused = heading(), []
    for name, video in zip(names, arguments.videos, strict=True):
        try:
            lines.append(row(name, *evaluated(video, arguments.out / name, arguments)))
        except subprocess.CalledProcessError:
            refused.append(name)
            continue
        (arguments.out / "table.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    print("\n".join(lines))
    if refused:
        sys.exit(f"no row of: {', '.join(refused)}")


if __name__ == "__main__":
    main()
