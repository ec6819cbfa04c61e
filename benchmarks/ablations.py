"""Each thing that GeneFace's own code gets wrong, one at a time against ours, and what it costs.

    python benchmarks/ablations.py CORPUS [--portrait PORTRAIT --avatar AVATAR] [--sync MODEL] [--only NAME,...]
                                   [--preset tiny|small|fast] [--seeds 0 1] [-o table.md] [--work DIR]

CORPUS is a folder of `geneface corpus prepare`: variants of the motion model are trained on it and scored on its
held-out clips. With the portrait of a person and the avatar trained from it, variants of the avatar's motion and of
its renderer are scored on the portrait's held-out frames. --sync is a folder with a sync expert, for example the
package's assets/motion. Writes a Markdown table with a section for each shortcoming that the paper states, and next to
it a JSON file with every figure of every seed. What is finished is kept in a folder next to the table
and not done again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import ablation_motion
import ablation_person
from ablation_motion import (
    MOTION_VARIANTS,
    OURS,
    PRESETS,
    MotionVariant,
    corpus_basis,
    score_variant,
    train_variant,
)
from ablation_person import (
    FREE_PRIOR,
    PERSON_VARIANTS,
    RENDERER_VARIANTS,
    person_figures,
    renderer_figures,
    speed_figures,
)
from ablation_report import CHANGES, Row, report

from geneface.avatar.avatar import Avatar
from geneface.corpus.corpus import MANIFEST_NAME, Corpus
from geneface.corpus.dataset import CorpusData, load_corpus_data
from geneface.evaluation.metrics import articulation, colour, lips, pixels, psnr, sharpness, stability
from geneface.evaluation.protocol import speech
from geneface.evaluation.schema import Figure
from geneface.io.atomic import sha256
from geneface.io.records import read_json, write_json
from geneface.motion.basis import MotionBasis
from geneface.motion.sync import SyncExpert
from geneface.portrait import manifest as portrait_manifest
from geneface.portrait.portrait import Portrait
from geneface.training.gaussian.config import gaussian_config
from geneface.training.motion.sync import load_expert
from geneface.types import ProgressFn

BUNDLED = "grid-s1"
NEEDS_PERSON = "give --portrait and --avatar"
NEEDS_EXPERT = "give --sync"
_RENDERER_COST, _PERSON_COST, _SPEED_COST, _FINISH_COST = 400, 100, 200, 20
"""In training steps of the motion model, for the ETA."""


@dataclass(frozen=True)
class Settings:
    """What decides the figures."""

    corpus: Path
    portrait: Path | None
    avatar: str | None
    sync: Path | None
    preset: str
    seeds: tuple[int, ...]
    only: tuple[str, ...]
    work: Path

    def wants(self, name: str) -> bool:
        return not self.only or name in self.only


@dataclass(frozen=True)
class Job:
    """One row to be."""

    group: str
    variant: str
    seed: int
    inputs: dict[str, Any]
    """What its figures depend on besides the code."""
    cost: float
    run: Callable[[ProgressFn], dict[str, Figure]] | None
    reason: str | None = None
    """Why it can't be run."""

    @property
    def stem(self) -> str:
        named = {"group": self.group, "variant": self.variant, "seed": self.seed, **self.inputs}
        digest = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()
        return f"{self.group}-{self.variant}-{self.seed}-{digest[:10]}"


class Bench:
    """Opens inputs when they are first needed, and makes the jobs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.preset = PRESETS[settings.preset]

    @cached_property
    def data(self) -> CorpusData:
        return load_corpus_data(Corpus.load(self.settings.corpus), voices=True)

    @cached_property
    def basis(self) -> MotionBasis:
        return corpus_basis(self.data, self.preset)

    @cached_property
    def expert(self) -> SyncExpert | None:
        return None if self.settings.sync is None else load_expert(self.settings.sync, self.data.encoder)

    @cached_property
    def portrait(self) -> Portrait:
        assert self.settings.portrait is not None
        return Portrait.load(self.settings.portrait)

    @cached_property
    def avatar(self) -> Avatar:
        return Avatar.load(self.settings.avatar or BUNDLED)

    def jobs(self) -> list[Job]:
        """Everything that was asked for, cheap things of a kind last."""
        seeds, wants = self.settings.seeds, self.settings.wants
        jobs = [self._motion(v, seed) for seed in seeds for v in MOTION_VARIANTS.values() if wants(v.name)]
        # An avatar's motion and speed are measured, not trained: there is no seed.
        jobs += [self._person(name) for name in PERSON_VARIANTS if wants(name)]
        jobs += [self._renderer(name, seed) for seed in seeds for name in RENDERER_VARIANTS if wants(name)]
        return [*jobs, self._speed()] if wants(OURS) else jobs

    def _motion(self, variant: MotionVariant, seed: int) -> Job:
        settings = self.settings
        config = variant.config(self.preset)
        corpus = sha256(settings.corpus / MANIFEST_NAME)
        sync = None if settings.sync is None else sha256(settings.sync / "sync.safetensors")
        inputs = {"config": config.model_dump(mode="json"), "corpus": corpus, "sync": sync}
        trained = MOTION_VARIANTS[variant.trained_as or variant.name]

        def run(progress: ProgressFn) -> dict[str, Figure]:
            weights = Job("motion", trained.name, seed, inputs, 0, None).stem
            folder = settings.work / "trained" / weights
            model = train_variant(trained, self.data, self.basis, self.expert, self.preset, seed, folder, progress)
            return score_variant(variant, model, self.basis, self.data)

        reason = NEEDS_EXPERT if not variant.with_expert and settings.sync is None else None
        steps = config.steps if variant is trained else _FINISH_COST
        return Job("motion", variant.name, seed, inputs, steps, None if reason else run, reason)

    def _person(self, name: str) -> Job:
        settings = self.settings
        if settings.portrait is None or settings.avatar is None:
            return Job("person", name, 0, {}, 0, None, NEEDS_PERSON)
        inputs = {"portrait": _portrait_digest(settings.portrait), "avatar": _avatar_digest(self.avatar)}
        return Job("person", name, 0, inputs, _PERSON_COST, lambda _: person_figures(name, self.avatar, self.portrait))

    def _renderer(self, name: str, seed: int) -> Job:
        settings = self.settings
        if settings.portrait is None:
            return Job("renderer", name, seed, {}, 0, None, NEEDS_PERSON)
        config = gaussian_config("tiny" if settings.preset == "tiny" else "fast", seed=seed)
        inputs = {"config": config.model_dump(mode="json"), "portrait": _portrait_digest(settings.portrait)}

        def run(progress: ProgressFn) -> dict[str, Figure]:
            trained = FREE_PRIOR if name.startswith(FREE_PRIOR) else OURS
            folder = settings.work / "trained" / Job("renderer", trained, seed, inputs, 0, None).stem
            return renderer_figures(name, self.portrait, config, folder, progress)

        return Job("renderer", name, seed, inputs, _RENDERER_COST, run)

    def _speed(self) -> Job:
        inputs = {"avatar": _avatar_digest(self.avatar)}
        return Job("speed", OURS, 0, inputs, _SPEED_COST, lambda _: speed_figures(self.avatar))


def _portrait_digest(folder: Path) -> str:
    return sha256(folder / portrait_manifest.MANIFEST_NAME)


def _avatar_digest(avatar: Avatar) -> str:
    files = (path for path in avatar.files.folder.rglob("*") if path.suffix in {".safetensors", ".onnx", ".json"})
    return hashlib.sha256("".join(sha256(path) for path in sorted(files)).encode()).hexdigest()


def _code_digest() -> str:
    """Changes with the code of the figures: what is trained is kept then, and scored again."""
    measures = (articulation, colour, lips, pixels, psnr, sharpness, speech, stability)
    modules = (ablation_motion, ablation_person, *measures)
    return hashlib.sha256("".join(sha256(Path(str(module.__file__))) for module in modules).encode()).hexdigest()[:8]


class Clock:
    """Says on the error stream what is done and how long the rest may take."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._left = float(sum(job.cost for job in jobs))
        self._done, self._spent, self._said = 0.0, 0.0, 0.0

    def run(self, job: Job) -> dict[str, Figure]:
        assert job.run is not None
        begin = time.monotonic()

        def progress(stage: str, done: int, total: int) -> None:
            now = time.monotonic()
            if now - self._said >= 5 and total:
                self._said = now
                share = job.cost * done / total
                pace = (self._spent + now - begin) / max(self._done + share, 1e-9)
                self._say(job, f"{stage} {done}/{total}", pace * (self._left - share))

        self._say(job, "begins", self._spent / self._done * self._left if self._done else None)
        figures = job.run(progress)
        self._spent += time.monotonic() - begin
        self._done += job.cost
        self._left -= job.cost
        return figures

    def _say(self, job: Job, what: str, left_seconds: float | None) -> None:
        left = "" if left_seconds is None else f", about {left_seconds / 60:.1f} min left"
        print(f"{job.group} {job.variant}, seed {job.seed}: {what}{left}", file=sys.stderr, flush=True)


def measure(jobs: Sequence[Job], work: Path) -> list[Row]:
    """Run what is not kept in `work` from an earlier run."""
    code = _code_digest()
    files = {job.stem: work / f"{job.stem}-{code}.json" for job in jobs}
    clock = Clock([job for job in jobs if job.run and not files[job.stem].is_file()])
    rows = []
    for job in jobs:
        path = files[job.stem]
        if job.run is None:
            rows.append(Row(job.group, job.variant, job.seed, {}, job.reason))
            continue
        if not path.is_file():
            figures = clock.run(job)
            write_json(path, {key: value.model_dump() for key, value in figures.items()})
        kept = {key: Figure.model_validate(value) for key, value in read_json(path).items()}
        rows.append(Row(job.group, job.variant, job.seed, kept))
    return rows


def describe(settings: Settings) -> str:
    """The note under the title."""
    preset = PRESETS[settings.preset]
    avatar = Path(settings.avatar or BUNDLED).name
    of_person = f"avatar {avatar}" + ("" if settings.portrait is None else f", portrait {settings.portrait.name}")
    return (
        f"Motion models: {preset.steps} steps of {preset.batch} sequences of {preset.crop_frames} frames "
        f"(preset {settings.preset}), {'with' if settings.sync else 'without'} a sync expert, "
        f"seeds {', '.join(map(str, settings.seeds))}. "
        f"Person: {of_person}. ± is half the range over the seeds. (worse) and (better) are against ours and say that "
        "the difference is more than three standard errors over the seeds, not that it is large; (same) that it is not."
    )


def record(settings: Settings, rows: Sequence[Row]) -> dict[str, Any]:
    """The JSON file."""
    return {
        "preset": settings.preset,
        "motion_config": PRESETS[settings.preset].model_dump(mode="json"),
        "seeds": list(settings.seeds),
        "with_sync_expert": settings.sync is not None,
        "changes": CHANGES,
        "rows": [
            {
                "group": row.group,
                "variant": row.variant,
                "seed": row.seed,
                "reason": row.reason,
                "figures": {key: value.model_dump() for key, value in row.figures.items()},
            }
            for row in rows
        ],
    }


def parse(arguments: Sequence[str] | None) -> tuple[Settings, Path]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--portrait", type=Path)
    parser.add_argument("--avatar", help="folder, trained from the portrait, or the name of a bundled one")
    parser.add_argument("--sync", type=Path, help="folder of a sync expert; without it no variant uses one")
    parser.add_argument("--only", default="", help="names of variants, with commas between")
    parser.add_argument("--preset", default="small", choices=PRESETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("-o", "--out", type=Path, default=Path("ablations.md"))
    parser.add_argument("--work", type=Path, help="folder of what is finished; tables of several persons may share it")
    given = parser.parse_args(arguments)
    only = tuple(name for name in given.only.split(",") if name)
    known = {name for group in CHANGES.values() for name in group}
    if unknown := sorted(set(only) - known):
        parser.error(f"no variant {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    work = given.work or given.out.with_suffix(".work")
    seeds = tuple(given.seeds)
    settings = Settings(given.corpus, given.portrait, given.avatar, given.sync, given.preset, seeds, only, work)
    return settings, given.out


def main(arguments: Sequence[str] | None = None) -> None:
    settings, out = parse(arguments)
    rows = measure(Bench(settings).jobs(), settings.work)
    text = report(rows, describe(settings))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    write_json(out.with_suffix(".json"), record(settings, rows))
    print(text)


if __name__ == "__main__":
    main()
