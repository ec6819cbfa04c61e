"""What a portrait folder says about itself: `manifest.json`.

Seconds and frames count from the first picture of a source video, frames at 25 Hz. `Interval` ends are exclusive.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from geneface.errors import InputError
from geneface.io.records import read_versioned, write_json
from geneface.io.words import Words

FORMAT = 1
MANIFEST_NAME = "manifest.json"
LITTLE_HELDOUT_SECONDS = 3.0
"""With less held out, figures of the lips mean little."""

"""(start, end, word) in seconds; "sil" and "sp" are silence."""


@dataclass(frozen=True)
class SegmentInfo:
    """Consecutive frames of one source without a cut."""

    name: str
    """Also the name of its files: segments/<name>.safetensors, audio/<name>.wav, source/<name>.mp4."""
    source: str
    start_seconds: float
    frames: int
    heldout_frames: tuple[int, int] | None
    """Frames [start, stop) of this segment that training must not see, or None."""
    sound_shift_frames: float
    """By how many frames the sound came late at the first frame and was moved forward (negative: it came early)."""
    crop: tuple[int, int, int]
    """x0, y0 and side of the square that was cut out of the source, source pixels."""
    background: str = "background.png"
    """The clean plate behind this segment."""
    sound_drift_ppm: float = 0.0
    """How much later the sound came with time, in millionths; it was brought to the picture's pace."""
    words: Words = ()
    """What is said, in seconds from the first frame, in step with the pictures; empty where it is not known."""
    scene: int = 1
    """Segments of one scene share the light and the clothes; scene 1 has the most frames."""
    source_size: tuple[int, int] | None = None
    """Width and height of the whole pictures in source/<name>.mp4; None in a portrait of before they were kept."""
    source_crop: tuple[float, float, float] | None = None
    """The square in pixels of these pictures: x0, y0 and side."""


@dataclass(frozen=True)
class DroppedSpan:
    """A part of a source that is not used."""

    source: str
    start: float
    stop: float
    """Seconds."""
    reason: str


@dataclass(frozen=True)
class PortraitManifest:
    """All about a portrait but its arrays."""

    size: int
    focal: float
    """Image widths."""
    encoder: str
    segments: tuple[SegmentInfo, ...]
    dropped: tuple[DroppedSpan, ...]
    sound_offset: dict[str, Any]
    """How far sound and picture were apart and how sure that is; see `portrait.offsets.describe_offsets`."""
    measured: dict[str, Any] = field(default_factory=dict)
    """Figures of the tracking: reprojection error, pose jitter."""
    notes: tuple[str, ...] = ()
    """What the user should know: cuts, variable rate, uncertain sound offset."""
    versions: dict[str, str] = field(default_factory=dict)
    fps: int = 25
    format: int = FORMAT

    @property
    def frames(self) -> int:
        """Frames of all segments."""
        return sum(segment.frames for segment in self.segments)

    @property
    def scenes(self) -> tuple[int, ...]:
        """Numbers of its scenes: an avatar looks like one of them."""
        return tuple(sorted({segment.scene for segment in self.segments}))

    @property
    def main_scene(self) -> int:
        """The scene with the most frames, which is trained unless another one is asked for."""
        frames = {scene: sum(s.frames for s in self.segments if s.scene == scene) for scene in self.scenes}
        return max(frames, key=lambda scene: (frames[scene], -scene), default=1)

    def of_scene(self, scene: int) -> PortraitManifest:
        """The same with the segments of one scene.

        Raises:
            InputError: there is no such scene.
        """
        if scene not in self.scenes:
            raise InputError(
                f"the portrait has no scene {scene}", f"give one of {', '.join(map(str, self.scenes))} (--scene)"
            )
        return replace(self, segments=tuple(segment for segment in self.segments if segment.scene == scene))

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into the folder, atomically."""
        write_json(folder / MANIFEST_NAME, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> PortraitManifest:
        """Read `manifest.json` of a portrait folder.

        Raises:
            InputError: it is missing, damaged, or of another version.
        """
        if not folder.is_dir():
            raise InputError(f"there is no portrait folder {folder}", "make it with: geneface prepare VIDEO -o FOLDER")
        if not (folder / MANIFEST_NAME).is_file():
            raise InputError(
                f"{folder} is not a finished portrait: it has no {MANIFEST_NAME}",
                "run geneface prepare again, with --resume to go on where it stopped",
            )
        values = read_versioned(folder / MANIFEST_NAME, FORMAT, "prepare the portrait again")
        try:
            segments = tuple(_segment(segment) for segment in values.pop("segments"))
            dropped = tuple(DroppedSpan(**span) for span in values.pop("dropped"))
            manifest = cls(segments=segments, dropped=dropped, **{**values, "notes": tuple(values.get("notes", ()))})
            if manifest.focal <= 0 or manifest.size < 1:
                raise ValueError("no such camera")
            if not all(isinstance(scene, int) and scene >= 1 for scene in manifest.scenes):
                raise ValueError("no such scene")
            return manifest
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{folder / MANIFEST_NAME} is damaged", "prepare the portrait again") from error


def _segment(values: dict[str, Any]) -> SegmentInfo:
    heldout = values.get("heldout_frames")
    # A portrait may come from somebody else: its file names must not lead out of its folder.
    name, background = PurePath(values["name"]), PurePath(values.get("background", "background.png"))
    if len(name.parts) != 1 or ".." in (*name.parts, *background.parts) or background.is_absolute():
        raise ValueError("a file name leads out of the portrait")
    words = tuple((float(start), float(end), str(word)) for start, end, word in values.get("words", ()))
    if not all(0 <= start <= end < float("inf") for start, end, _ in words):
        raise ValueError("a word ends before it starts")
    fixed = {"heldout_frames": tuple(heldout) if heldout else None, "crop": tuple(values["crop"]), "words": words}
    return SegmentInfo(**{**values, **fixed, **_source(values)})


def _source(values: dict[str, Any]) -> dict[str, Any]:
    """Size of the source pictures and the square in them, which must lie inside."""
    if values.get("source_size") is None:
        return {"source_size": None, "source_crop": None}
    width, height = (int(value) for value in values["source_size"])
    x, y, side = (float(value) for value in values["source_crop"])
    if not (x >= 0 and y >= 0 and side > 0 and x + side < width + 1 and y + side < height + 1):
        raise ValueError("the square lies outside of the source pictures")
    return {"source_size": (width, height), "source_crop": (x, y, side)}
