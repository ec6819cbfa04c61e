"""`prepare_portrait`: videos of one person -> portrait folder, in named steps that can be interrupted and resumed.

scan, track, judge, frame, sound (`survey`: the same that `check` does), cut out, pose, background, masks, source
pictures, speech, preview, manifest. Each step writes files that appear whole or
not at all and skips what is there already (`steps`); the manifest is written last, so a folder with a manifest is
a finished portrait. The result does not depend on the number of workers or on interruptions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from geneface.analysis.speech import DEFAULT_ENCODER, encoder_name, load_encoder
from geneface.config import Config
from geneface.errors import InputError
from geneface.geometry.pose import HeadTrack
from geneface.io.words import Words
from geneface.io.work import clear_folder, exclusive_folder
from geneface.portrait import steps
from geneface.portrait.crops import Square
from geneface.portrait.manifest import PortraitManifest, SegmentInfo
from geneface.portrait.notes import describe
from geneface.portrait.offsets import describe_offsets
from geneface.portrait.plan import refuse_too_little, usable_shots
from geneface.portrait.preview import PREVIEW_NAME, portrait_preview, write_preview
from geneface.portrait.scan import SourceScan, refuse_unreadable
from geneface.portrait.segments import Segment
from geneface.portrait.survey import survey
from geneface.portrait.torso_step import follow_the_torso
from geneface.portrait.words import find_words, with_words
from geneface.portrait.workspace import Workspace, describe_sources
from geneface.types import VIDEO_RATE_HZ, ProgressFn, no_progress


class PrepareConfig(Config):
    """Settings of `prepare_portrait`."""

    size: Literal[64, 128, 256, 512] = 256
    """Pixels of the square pictures; 64 and 128 are for trying things out."""
    encoder: str = DEFAULT_ENCODER
    """Speech encoder whose features are stored."""
    encoder_path: str | None = None
    """Weights of the encoder, where it is not shipped."""
    correct_sound: bool = True
    """Move sound that is late or early to its picture."""
    smooth_frames: float = Field(default=1.5, ge=0)
    """Deviation of the Gaussian that steadies the head pose, frames."""
    smooth_depth_frames: float = Field(default=4.0, ge=0)
    """The same for the head's distance."""
    workers: int = Field(default=2, ge=1)
    """Processes at work; the result does not depend on it."""


def prepare_portrait(
    videos: Sequence[Path],
    out: Path,
    config: PrepareConfig | None = None,
    resume: bool = False,
    progress: ProgressFn = no_progress,
    words: Path | None = None,
) -> PortraitManifest:
    """Make a portrait folder from one video or many clips of one person.

    Args:
        videos: in any order; they are sorted by name.
        out: a folder that does not exist or is empty, or with `resume` one that an interrupted run left. Of a
            finished portrait only the words are brought up to date.
        words: times of the words, see `portrait.words`; by default the words.json next to each video, if there is one.

    Raises:
        InputError: the videos or the words can't be used (the message says why and where), `out` can't be written, or
            another run is at work in it.
    """
    if not videos:
        raise InputError("no video is given", "name at least one video file")
    config = config or PrepareConfig()
    # Before the videos are looked through: without it there would be nothing to do with them.
    encoder = encoder_name(config.encoder, config.encoder_path)
    videos = sorted((Path(video) for video in videos), key=lambda path: (path.name, str(path)))
    out = Path(out)
    work = Workspace(out)
    # Workers only share out the work: a run may go on with another number of them. Weights are known by their digest.
    settings = config.model_dump(exclude={"workers"}) | {"encoder": encoder, "encoder_path": None}
    run = {"sources": describe_sources(videos), "settings": settings}
    spoken = find_words(videos, words)
    with exclusive_folder(out):
        if work.open(run, resume):
            finished = PortraitManifest.read(out)
            manifest = with_words(finished, videos, spoken)
            if manifest != finished:
                manifest.write(out)
        else:
            try:
                made = _prepare(videos, steps.Preparation(work, config.size, config.workers, progress), config, spoken)
            except InputError:
                if not resume:
                    clear_folder(out)
                raise
            made.write(out)
        work.close()
    return PortraitManifest.read(out)


def _prepare(
    videos: Sequence[Path], prep: steps.Preparation, config: PrepareConfig, spoken: Mapping[Path, Words]
) -> PortraitManifest:
    """All steps in their order."""
    refuse_unreadable(videos)
    encoder = load_encoder(config.encoder, config.encoder_path)
    scanned = [found for found in steps.scan(prep, videos, strict=True) if not isinstance(found, InputError)]
    scans, sounds = [seen for seen, _ in scanned], [sound for _, sound in scanned]
    paths = [scan.path for scan in scans]
    shots, rest = usable_shots(scans)
    refuse_too_little(sum(shot.frames for shot in shots), rest, paths)
    found = survey(prep, scans, sounds, correct_sound=config.correct_sound)
    refuse_too_little(found.main_frames, found.unused, paths)
    segments = found.segments
    meshes = steps.crop_meshes(segments, found.squares, config.size)
    steps.cut_out(prep, scans, segments, found.squares, meshes)
    track = steps.solve_poses(prep, found.shots, segments, meshes, config.smooth_frames, config.smooth_depth_frames)
    plates = steps.clean_backgrounds(prep, segments)
    steps.store_pictures(prep, segments, meshes)
    steps.join_sources(prep, segments)
    follow_the_torso(prep, segments, track)
    steps.encode_speech(prep, segments, sounds, encoder)
    write_preview(prep.work.out / PREVIEW_NAME, portrait_preview(prep, found, meshes, plates, config.correct_sound))
    names = {index: scan.name for index, scan in enumerate(scans)}
    manifest = PortraitManifest(
        size=config.size,
        focal=track.focal,
        encoder=encoder.name,
        segments=tuple(_describe(segment, scans, found.squares, plates) for segment in segments),
        dropped=tuple(found.dropped),
        sound_offset=describe_offsets(names, found.offsets),
        measured=_measured(track, segments),
        notes=tuple(describe(found, config.size, correct_sound=config.correct_sound)),
        versions=_versions(),
        fps=VIDEO_RATE_HZ,
    )
    heard = {video: sound.start_seconds for video, sound in zip(videos, sounds, strict=True) if sound is not None}
    return with_words(manifest, videos, spoken, heard)


def _describe(
    segment: Segment, scans: Sequence[SourceScan], squares: Sequence[Square], plates: dict[int, str]
) -> SegmentInfo:
    square, kept = squares[segment.span.framing], steps.kept_size(segment, scans, squares)
    return SegmentInfo(
        name=segment.name,
        source=scans[segment.span.source].name,
        start_seconds=round(segment.span.start / VIDEO_RATE_HZ, 2),
        frames=segment.span.frames,
        heldout_frames=segment.heldout,
        sound_shift_frames=round(segment.sound_shift, 3),
        sound_drift_ppm=segment.sound_drift_ppm,
        crop=(square.x, square.y, square.side),
        background=plates[segment.span.framing],
        scene=segment.span.scene,
        source_size=kept.even,
        source_crop=kept.crop,
    )


def _measured(track: HeadTrack, segments: Sequence[Segment]) -> dict[str, Any]:
    """Figures that tell how well the head was tracked."""
    counts = [segment.span.frames for segment in segments]
    label = np.repeat(np.arange(len(segments)), counts)
    inside = label[2:] == label[:-2]
    jitter = np.degrees(np.diff(track.pose.rotation, 2, axis=0)[inside])
    return {
        "reprojection_px": round(float(track.reprojection_px.mean()), 3),
        "reprojection_px_worst_frame": round(float(track.reprojection_px.max()), 3),
        "rotation_jitter_degrees": [round(float(value), 3) for value in np.sqrt((jitter**2).mean(0))],
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in ("geneface", "onnxruntime", "numpy", "av"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
