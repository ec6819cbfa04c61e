"""The README's table, from recordings to figures, in the order of the GeneFace paper's Table 1.

    python benchmarks/paper_table.py DATA -o tables [--lpips FILE] [--inception FILE] [--syncnet FILE]

DATA holds `grid_s1/` (the GRID corpus's speaker 1, with words.json) and `president/obama_450px_20s.mp4`. Both persons
are prepared, the president's avatar is trained, both avatars are evaluated on all of their held-out frames, and a
Markdown table is printed: PSNR, NIQE, FID, SSIM, LSE-C, LSE-D as in the paper, then ours; a second one for the lips.
What is finished is kept in the output folder and not done again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ALL_FRAMES = "1000000"
CONSENT = "The recording is a work of the US government, in the public domain."
SITTING = Path(__file__).with_name("grid_s1_sitting.txt")
COLUMNS = (
    ("PSNR, head", "image_head", "head_psnr"),
    ("PSNR, frame", "image_frame", "frame_psnr"),
    ("NIQE", "image_frame", "frame_niqe"),
    ("FID", "image_frame", "frame_fid"),
    ("SSIM, head", "image_head", "head_ssim"),
    ("LSE-C", "sync", "lse_c"),
    ("LSE-D", "sync", "lse_d"),
    ("LPIPS", "image_frame", "frame_lpips"),
    ("sharpness, head", "image_head", "head_sharpness_ratio"),
    ("lip-sync confidence", "sync", "lip_sync_confidence"),
    ("lip-sync distance", "sync", "lip_sync_distance"),
)
LIP_COLUMNS = (
    ("opening correlation", "lips", "opening_correlation"),
    ("width correlation", "lips", "width_correlation"),
    ("amplitude / truth", "lips", "opening_amplitude_ratio"),
    ("offset, frames", "lips", "offset_frames"),
    ("LMD, face widths", "lips", "lip_landmark_distance"),
    ("LMD, px", "lips", "lip_landmark_distance_px"),
    ("closures hit", "lips", "closure_rate"),
    ("false closures", "lips", "false_closure_rate"),
    ("PSNR, mouth", "image_mouth", "mouth_psnr"),
)
Columns = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Subject:
    """One person of the table."""

    name: str
    videos: list[Path]
    bundled: bool
    """Whether the avatar comes with the package; else it is trained here."""


def subjects(data: Path) -> list[Subject]:
    clips = [data / "grid_s1" / line for line in SITTING.read_text(encoding="utf-8").split()]
    president = data / "president" / "obama_450px_20s.mp4"
    return [Subject("grid-s1", clips, bundled=True), Subject("president", [president], bundled=False)]


def run(*arguments: str) -> None:
    """One command of the product, as a user would give it."""
    print("geneface", *(argument if len(arguments) < 12 else "..." for argument in arguments[:12]), file=sys.stderr)
    subprocess.run([sys.executable, "-c", "from geneface.apps.cli import main; main()", *arguments], check=True)


def evaluate(subject: Subject, out: Path, weights: list[str]) -> dict[str, Any]:
    """Prepare, train if need be, evaluate; the content of metrics.json."""
    # Other weights, another report: n/a of a first run must not stay.
    report = out / "-".join([subject.name, "report", *(part.removeprefix("--") for part in weights[::2])])
    portrait = out / f"{subject.name}-portrait"
    if not (portrait / "manifest.json").exists():
        run("prepare", *map(str, subject.videos), "-o", str(portrait), "--resume")
    avatar = subject.name
    if not subject.bundled:
        avatar = str(out / f"{subject.name}-avatar")
        if not (Path(avatar) / "config.json").exists():
            run("train", str(portrait), "-o", avatar, "--preset", "fast", "--consent", CONSENT, "--resume")
    if not (report / "metrics.json").exists():
        run("evaluate", avatar, "--portrait", str(portrait), "-o", str(report), "--max-frames", ALL_FRAMES, *weights)
    return json.loads((report / "metrics.json").read_text(encoding="utf-8"))


def table(name: str, metrics: dict[str, Any], columns: Columns) -> list[str]:
    """Markdown rows: ground truth, what is evaluated, controls."""
    tables = metrics["tables"]
    lines = []
    for row in tables["image_frame"]["rows"]:
        cells = [_cell(tables[table]["rows"] if table in tables else [], row["name"], key) for _, table, key in columns]
        lines.append(f"| {name} | {row['name']} | {' | '.join(cells)} |")
    return lines


def _cell(rows: list[dict[str, Any]], row: str, key: str) -> str:
    figures = next((entry["figures"] for entry in rows if entry["name"] == row), {})
    value = figures.get(key, {}).get("value")
    return "n/a" if value is None else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def heading(columns: Columns) -> list[str]:
    heads = " | ".join(title for title, _, _ in columns)
    return [f"| person | video | {heads} |", "|---" * (len(columns) + 2) + "|"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of all that is made")
    for network in ("lpips", "inception", "syncnet"):
        parser.add_argument(f"--{network}", type=Path, help="weights, from geneface convert-weights")
    arguments = parser.parse_args()
    given = {name: getattr(arguments, name) for name in ("lpips", "inception", "syncnet")}
    weights = [part for name, path in given.items() if path for part in (f"--{name}", str(path))]
    arguments.out.mkdir(parents=True, exist_ok=True)
    measured = {person.name: evaluate(person, arguments.out, weights) for person in subjects(arguments.data)}
    lines = []
    for columns in (COLUMNS, LIP_COLUMNS):
        lines += heading(columns)
        for name, metrics in measured.items():
            lines += table(name, metrics, columns)
        lines.append("")
    (arguments.out / "table.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
