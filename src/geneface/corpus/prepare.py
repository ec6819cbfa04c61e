"""Clips of many speakers -> corpus folder (see `corpus.corpus`), in resumable steps (see `corpus.steps`).

track     every video -> raw mesh pixels
speakers  per speaker, and size of the picture, one neutral face and focal length, from frames of all training clips
clips     every clip: canonical landmarks, speech features of the sound, and how well they go together

Steps run in worker processes, or on a Ray cluster. Each one's result is written atomically; what exists is not
computed again.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from geneface.analysis.speech import DEFAULT_ENCODER, SpeechEncoder, load_encoder
from geneface.corpus.cluster import open_cluster
from geneface.corpus.corpus import CAMERAS, MANIFEST_NAME, ClipEntry, CorpusManifest, DroppedEntry, LayoutName
from geneface.corpus.layouts import Found, Source, heldout_names, split_part, survey
from geneface.corpus.offsets import find_offsets
from geneface.corpus.steps import (
    FinishStep,
    SolveStep,
    Step,
    TrackStep,
    clip_path,
    parts_of,
    raw_path,
    read_speaker,
    run_step,
    speaker_path,
    why_drop,
)
from geneface.errors import InputError
from geneface.io.place import remove_leftovers
from geneface.io.records import write_json
from geneface.io.tensors import TensorFile, load_tensors, save_tensors
from geneface.io.work import claim_folder, clear_folder, exclusive_folder
from geneface.types import FloatArray, ProgressFn, no_progress
from geneface.workers import run_tasks, usable_cores

_SPEAKERS_NAME = "speakers.safetensors"


def prepare_corpus(
    folders: Path | Sequence[Path],
    out: Path,
    *,
    layout: LayoutName = "auto",
    cameras: Sequence[str] = CAMERAS,
    encoder: str = DEFAULT_ENCODER,
    encoder_path: Path | None = None,
    resume: bool = False,
    workers: int | None = None,
    ray: str | None = None,
    progress: ProgressFn = no_progress,
    tell: Callable[[str], None] = lambda _: None,
) -> CorpusManifest:
    """Track all clips below `folders`, bring them to the canonical head frame, and encode their speech.

    Args:
        folders: a folder, or several, of clips.
        out: the corpus folder; must be new or empty unless `resume`.
        layout, cameras: as for `layouts.survey`.
        encoder, encoder_path: as for `analysis.speech.load_encoder`. On a cluster the path must lead to the weights on
            every machine.
        resume: continue a folder that was interrupted.
        workers: processes on this machine, by default one for each core.
        ray: where there are more clips than one machine can track: the address of a Ray cluster, or "local"
            (`corpus.cluster`).
        progress: stages "track", "speakers" and "clips".
        tell: hears in sentences what was recognised, and what is done twice.
    """
    found = survey(folders, layout, cameras)
    out = Path(out)
    if encoder_path is not None and Path(encoder_path).exists():
        # Workers on other machines are in other folders.
        encoder_path = Path(encoder_path).absolute()
    # A wrong name or missing weights should be reported before the clips are tracked, not after.
    speech = load_encoder(encoder, encoder_path)
    settings = {"encoder": speech.name, "sources": [source.name for source in found.sources]}
    with exclusive_folder(out):
        claim_folder(
            out,
            "settings.json",
            settings,
            resume,
            begun=InputError(f"{out} holds a corpus already", "add --resume to continue it, or choose another folder"),
            other=InputError(f"{out} was begun with other clips or another encoder", "choose another folder"),
            present=(path for path in out.iterdir() if not path.name.startswith(".")),
        )
        try:
            with _at_work(ray, workers, tell) as at_work:
                for sentence in found.sentences():
                    tell(sentence)
                manifest = _Preparation(found, out, speech, encoder_path, at_work, progress).run(layout, cameras)
        except InputError as error:
            # Hours of tracking are not thrown away because a disk is full.
            if not resume and (isinstance(error, _UnusableError) or not (out / "raw").exists()):
                clear_folder(out)
            raise
        remove_leftovers(out)
    return manifest


Task = TypeVar("Task")
Result = TypeVar("Result")


def run_stage(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    stage: str,
    progress: ProgressFn,
    done: int = 0,
) -> list[Result]:
    """Results of `function` over `tasks` in their order, by worker processes (see `workers.run_tasks`).

    Args:
        done: tasks of the stage that were done before.
    """
    total = done + len(tasks)

    def finished(index: int, result: Result) -> None:
        nonlocal done
        done += 1
        progress(stage, done, total)

    return run_tasks(function, tasks, workers, finished)


class AtWork(Protocol):
    """Whoever runs steps."""

    def run(self, steps: Sequence[Step], stage: str, progress: ProgressFn, done: int) -> list[str]:
        """What `Step.run` says of each; `done` steps of the stage were done before."""
        ...


@dataclass(frozen=True)
class Processes:
    """Worker processes on this machine."""

    count: int

    def run(self, steps: Sequence[Step], stage: str, progress: ProgressFn, done: int) -> list[str]:
        """Run the steps."""
        return run_stage(run_step, steps, self.count, stage, progress, done)


@contextmanager
def _at_work(ray: str | None, workers: int | None, tell: Callable[[str], None]) -> Iterator[AtWork]:
    if ray is None:
        yield Processes(workers or usable_cores())
        return
    with open_cluster(ray, workers, tell) as cluster:
        yield cluster


class _UnusableError(InputError):
    """There is nothing to make a corpus of."""


@dataclass(frozen=True)
class _Clip:
    """A part of a video that can be used."""

    source: Source
    speaker: str
    """Name in the corpus of the speaker before this camera."""
    frames: int
    size: tuple[int, int]


@dataclass
class _Preparation:
    """One corpus, on its way through the steps."""

    found: Found
    out: Path
    speech: SpeechEncoder
    encoder_path: Path | None
    at_work: AtWork
    progress: ProgressFn

    def run(self, layout: LayoutName, cameras: Sequence[str]) -> CorpusManifest:
        """All steps in their order."""
        held = heldout_names(self.found.sources)
        clips, reasons = self._tracked()
        faces, unsolved = self._faces(clips, held)
        reasons |= {clip.source.name: unsolved[clip.speaker] for clip in clips if clip.speaker in unsolved}
        clips, unfinished = self._finished([clip for clip in clips if clip.speaker in faces], faces)
        reasons |= unfinished
        late = self._offsets(clips)
        if not clips:
            name, reason = next(iter(sorted(reasons.items())))
            raise InputError(f"no clip can be used, {name}: {reason}", "check the machines, and add --resume")
        manifest = CorpusManifest(
            encoder=self.speech.name,
            feature_width=self.speech.width,
            layout=layout,
            cameras=tuple(cameras),
            speakers={name: focal for name, (_, focal) in faces.items()},
            clips=tuple(
                ClipEntry(
                    name=clip.source.name,
                    speaker=clip.speaker,
                    source=clip.source.path.name,
                    frames=clip.frames,
                    heldout=split_part(clip.source.name)[0] in held,
                    late_frames=late.get(clip.source.name, 0.0),
                )
                for clip in clips
            ),
            dropped=tuple(DroppedEntry(name=name, reason=reason) for name, reason in sorted(reasons.items())),
        )
        write_json(self.out / MANIFEST_NAME, manifest.model_dump(mode="json"))
        return manifest

    def _run(self, steps: Sequence[Step], stage: str) -> dict[str, str]:
        """Why what can't be made can't be, by the steps' names."""
        left = [step for step in steps if not step.product.is_file()]
        done = len(steps) - len(left)
        if done:
            self.progress(stage, done, len(steps))
        said = self.at_work.run(left, stage, self.progress, done) if left else []
        return {step.name: reason for step, reason in zip(left, said, strict=True) if reason}

    def _tracked(self) -> tuple[list[_Clip], dict[str, str]]:
        """Clips that can be used, and why the others can't."""
        sources = self.found.sources
        reasons = self._run([_track_step(source, self.out) for source in sources], "track")
        usable: list[_Clip] = []
        for source in sources:
            for part, raw in [] if source.name in reasons else parts_of(self.out, source):
                reason = why_drop(raw)
                if reason:
                    reasons[part.name] = reason
                else:
                    usable.append(_Clip(part, "", len(raw.found), (raw.width, raw.height)))
        if not usable:
            raise _UnusableError(
                f"none of the {len(sources)} clips can be used, {sources[0].path}: {reasons[sources[0].name]}",
                "geneface check VIDEO says more about a clip",
            )
        return _by_camera(usable), reasons

    def _faces(self, clips: list[_Clip], held: set[str]) -> tuple[dict[str, tuple[FloatArray, float]], dict[str, str]]:
        """Neutral face and focal length of each speaker, from training clips; kept in speakers.safetensors."""
        path = self.out / _SPEAKERS_NAME
        own: dict[str, list[_Clip]] = {}
        for clip in clips:
            own.setdefault(clip.speaker, []).append(clip)
        known = _known_faces(path)
        steps = []
        for name in sorted(own.keys() - known.keys()):
            training = [clip for clip in own[name] if split_part(clip.source.name)[0] not in held] or own[name]
            tracks = tuple(raw_path(self.out, clip.source.name) for clip in training)
            steps.append(SolveStep(name, tracks, self.out, training[0].size))
        reasons = self._run(steps, "speakers")
        known |= {step.name: read_speaker(self.out, step.name) for step in steps if step.name not in reasons}
        faces = {name: known[name] for name in sorted(own) if name in known}
        if steps and faces:
            save_tensors(
                path,
                {name: neutral for name, (neutral, _) in faces.items()},
                {name: repr(focal) for name, (_, focal) in faces.items()},
            )
        shutil.rmtree(speaker_path(self.out, "").parent, ignore_errors=True)
        return faces, reasons

    def _finished(
        self, clips: list[_Clip], faces: dict[str, tuple[FloatArray, float]]
    ) -> tuple[list[_Clip], dict[str, str]]:
        """Clips whose files are there, and why others are not."""
        steps = [
            FinishStep(
                clip.source.name,
                (clip.source.sound or clip.source.path, raw_path(self.out, clip.source.name)),
                self.out,
                self.speech.name,
                self.encoder_path,
                *faces[clip.speaker],
            )
            for clip in clips
        ]
        reasons = self._run(steps, "clips")
        return [clip for clip in clips if clip.source.name not in reasons], reasons

    def _offsets(self, clips: list[_Clip]) -> dict[str, float]:
        """Frames by which each clip's sound is late, where that can be told."""
        heard: dict[str, dict[str, Path]] = {}
        for clip in clips:
            heard.setdefault(clip.speaker, {})[clip.source.name] = clip_path(self.out, clip.source.name)
        return find_offsets(heard)


def _track_step(source: Source, out: Path) -> TrackStep:
    inputs = (source.path,) if source.sound is None else (source.path, source.sound)
    return TrackStep(source.name, inputs, out)


def _by_camera(clips: list[_Clip]) -> list[_Clip]:
    """With speakers' names: pictures of another size, or camera, than most of a speaker's are another speaker's.

    Each has a neutral face and a focal length of its own: no two cameras see a face alike.
    """
    counts: dict[str, Counter[tuple[str, tuple[int, int]]]] = {}
    for clip in clips:
        counts.setdefault(clip.source.speaker, Counter())[clip.source.camera, clip.size] += 1
    named = []
    for clip in clips:
        camera, size = clip.source.camera, clip.size
        usual = max((count, key) for key, count in counts[clip.source.speaker].items() if key[0] == camera)[1][1]
        marks = ([camera] if camera else []) + ([f"{size[0]}x{size[1]}"] if size != usual else [])
        named.append(_Clip(clip.source, "@".join([clip.source.speaker, *marks]), clip.frames, size))
    return named


def _known_faces(path: Path) -> dict[str, tuple[FloatArray, float]]:
    """What speakers.safetensors says, if it is there."""
    if not path.is_file():
        return {}
    focals = TensorFile(path).metadata
    return {name: (neutral, float(focals[name])) for name, neutral in load_tensors(path).items()}
