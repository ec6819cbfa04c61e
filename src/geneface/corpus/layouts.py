"""Which videos a corpus has, who speaks in them, and what is held out: read from folders and file names.

A layout is how a corpus lies on the disk. It is recognised by the names of its files:

| layout | files | speaker |
|---|---|---|
| lrs3 | pretrain, trainval or test/<speaker>/00001.mp4 | the folder |
| mead | M003/video/front/angry/level_1/001.mp4; its sound may lie in M003/audio/angry/level_1/001.m4a | M003 |
| crema-d | 1001_DFA_ANG_XX.flv | 1001 |
| hdtf | WRA_MarcoRubio1_000.mp4 | the name, WRA_MarcoRubio: without the video's number |
| grid | s1/bbaf2n.mpg, s26_bgbsza.mp4 | s1, s26 |
| generic | ann/.../clip.mp4 | the folder just below the one that is given, or that one |
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from geneface.corpus.corpus import CAMERAS, HELDOUT_PERIOD, LAYOUTS, LayoutName, is_heldout
from geneface.errors import InputError
from geneface.io.clips import VIDEO_SUFFIXES, find_clips

ALL_CAMERAS = "all"
_RECOGNISED = 0.9
"""Share of a folder's files whose names must be a layout's; the others are passed over."""
_NAME_BYTES = 90
"""Longest name of a speaker, and of a take; the end of a longer one becomes a digest. Files have 255 at most."""
_PART = "~"
_SOUND_SUFFIXES = (".m4a", ".wav", ".aac", ".mp3", ".flac")

_LRS3 = re.compile(r"(?:^|/)(pretrain|trainval|test)/([\w-]{11})/(\d{5})$")
_MEAD = re.compile(r"(?:^|/)([MW]\d{3})/video/([a-z]+(?:_\d+)?)/([a-z]+)/(level_\d)/(\d{3})$")
_CREMA_D = re.compile(r"(?:^|/)((\d{4})_[A-Z]{3}_(?:ANG|DIS|FEA|HAP|NEU|SAD)_(?:XX|LO|MD|HI|X))$")
_HDTF = re.compile(r"(?:^|/)(([^/]+)_\d+)$")
_HDTF_OWN = re.compile(r"(?:^|/)(?:WDA|WRA|RD)_[^/]+_\d+$")
_ADDRESS = re.compile(r"((?:WDA|WRA)_.*?)\d*")
"""Weekly addresses: the number is that of the speaker's video."""
_GRID = re.compile(r"(?:^|/)(s\d+)/")
_PREFIX = re.compile(r"(s\d+)_")


@dataclass(frozen=True)
class Source:
    """One video file of the corpus, or one part of a long one."""

    path: Path
    speaker: str
    take: str = ""
    """What is recorded: the clip's name behind the speaker's; the same for several cameras. "": the file's stem."""
    camera: str = ""
    """The camera, where that is not the usual one."""
    sound: Path | None = None
    """A file that lies beside the video and has its sound, should the video have none."""
    is_test: bool = False
    """The corpus itself says that it is for testing."""
    is_whole: bool = False
    """Recordings of its speaker overlap: all or none of them are held out."""
    part: int = 1
    """From 1; only videos that are tracked in several parts have others (`corpus.steps`)."""

    @property
    def recording(self) -> str:
        """Speaker and take."""
        return f"{self.speaker}__{self.take or self.path.stem}"

    @property
    def name(self) -> str:
        """Name of the clip in the corpus: speaker__take, with the camera and the part where there are several."""
        take = self.take or self.path.stem
        return f"{self.speaker}__{f'{self.camera}-' if self.camera else ''}{take}{part_suffix(self.part)}"


def part_suffix(part: int) -> str:
    """What the name of a part has more than that of its clip."""
    return f"{_PART}{part}" if part > 1 else ""


def split_part(name: str) -> tuple[str, int]:
    """A clip's name -> the name of its first part, and which one it is."""
    first, mark, number = name.rpartition(_PART)
    return (first, int(number)) if mark else (name, 1)


@dataclass(frozen=True)
class Found:
    """What folders hold."""

    sources: list[Source]
    """Sorted by name."""
    layouts: Mapping[Path, LayoutName]
    """Of each folder."""
    passed_over: list[Path] = field(default_factory=list)
    """Videos whose names are not the layout's."""
    other_cameras: int = 0
    """Videos of cameras that are not taken."""

    def sentences(self) -> list[str]:
        """What was recognised, for people."""
        speakers = len({source.speaker for source in self.sources})
        names = ", ".join(f"{folder}: {layout}" for folder, layout in self.layouts.items())
        held = len(heldout_names(self.sources))
        said = [f"layout of {names}; {len(self.sources)} videos of {speakers} speakers, {held} of them held out"]
        if self.other_cameras:
            said.append(f"{self.other_cameras} videos of other cameras are left out (--cameras all takes them)")
        if self.passed_over:
            count, first = len(self.passed_over), self.passed_over[0]
            said.append(f"{count} videos whose names are not the layout's are left out, such as {first}")
        return said


def survey(folders: Path | Sequence[Path], layout: LayoutName = "auto", cameras: Sequence[str] = CAMERAS) -> Found:
    """Videos below the folders.

    Args:
        layout: of all folders; "auto" recognises that of each.
        cameras: where several filmed a speaker at once (MEAD), which of them are taken; `ALL_CAMERAS`.

    Raises:
        InputError: no such folder or layout, no video, or two that would get one name.
    """
    chosen = [Path(folders)] if isinstance(folders, str | Path) else [Path(folder) for folder in folders]
    if layout not in LAYOUTS:
        raise InputError(f"there is no layout named {layout}", f"choose one of {', '.join(LAYOUTS)}")
    sources: list[Source] = []
    layouts: dict[Path, LayoutName] = {}
    passed_over: list[Path] = []
    for folder in chosen:
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder", "give a folder of video clips")
        paths = find_clips(folder, is_deep=True).taken
        if not paths:
            continue
        layouts[folder], found = _read_folder(folder, paths, layout)
        sources += found.values()
        passed_over += [path for path in paths if path not in found]
    if not sources:
        raise InputError(
            f"no video in {', '.join(map(str, chosen))}", f"give clips ({', '.join(sorted(VIDEO_SUFFIXES))})"
        )
    taken = _of_cameras(sources, cameras)
    taken.sort(key=lambda source: source.name)
    _check_names(taken)
    return Found(taken, layouts, passed_over, len(sources) - len(taken))


def find_sources(
    folders: Path | Sequence[Path], layout: LayoutName = "auto", cameras: Sequence[str] = CAMERAS
) -> list[Source]:
    """The videos that `survey` finds, sorted by name."""
    return survey(folders, layout, cameras).sources


def heldout_names(sources: Iterable[Source]) -> set[str]:
    """Names of the clips that are never trained on.

    Of each speaker every tenth recording, in the order of their names. Speakers with fewer than ten, and those whose
    recordings overlap, are held out as a whole: every tenth of them. Where a corpus has a test set, that is held out,
    and of its other overlapping speakers none. All cameras of a recording go together.
    """
    sources = list(sources)
    is_tested = any(source.is_test for source in sources)
    takes: dict[str, set[str]] = {}
    whole: set[str] = set()
    for source in sources:
        if source.is_test:
            continue
        takes.setdefault(source.speaker, set()).add(source.recording)
        if source.is_whole:
            whole.add(source.speaker)
    small = sorted(name for name, own in takes.items() if len(own) < HELDOUT_PERIOD and name not in whole)
    held_speakers = {name for index, name in enumerate(small) if is_heldout(index)}
    if not is_tested:
        held_speakers |= {name for index, name in enumerate(sorted(whole)) if is_heldout(index)}
    held = {
        take
        for name, own in takes.items()
        if name not in whole
        for index, take in enumerate(sorted(own))
        if is_heldout(index)
    }
    return {
        source.name
        for source in sources
        if source.is_test or source.speaker in held_speakers or source.recording in held
    }


# ---- layouts


def _read_folder(folder: Path, paths: list[Path], layout: LayoutName) -> tuple[LayoutName, dict[Path, Source]]:
    """The folder's layout, and what it says of the files that have its names."""
    names = {path: _place(folder, path) for path in paths}
    if layout == "auto":
        layout = _recognise(folder, names)
    read = _READERS[layout]
    found = {path: source for path, name in names.items() if (source := read(name, path, folder)) is not None}
    if not found:
        raise InputError(f"no video in {folder} has a name of the layout {layout}", "choose another --layout, or auto")
    return layout, found


def _place(folder: Path, path: Path) -> str:
    """Where a file lies, with slashes and without suffix: the folder's own place counts, so that a part of a corpus
    may be given."""
    above = [part for part in folder.resolve().parts[-5:] if part != folder.resolve().anchor]
    return "/".join((*above, *path.relative_to(folder).with_suffix("").parts))


def _recognise(folder: Path, names: Mapping[Path, str]) -> LayoutName:
    """The layout whose names nearly all files have. A grid and a generic folder are told apart by all files."""
    for layout, own in _OWN_NAMES.items():
        if sum(own.search(name) is not None for name in names.values()) >= _RECOGNISED * len(names):
            return layout
    return "grid" if all(_grid("", path, folder) for path in names) else "generic"


def _lrs3(place: str, path: Path, _: Path) -> Source | None:
    """Pretrain and trainval overlap in content, test does not (Afouras et al. 2018)."""
    match = _LRS3.search(place)
    if match is None:
        return None
    group, speaker, clip = match.groups()
    return Source(path, _speaker(speaker), f"{group}-{clip}", is_test=group == "test", is_whole=True)


def _mead(place: str, path: Path, _: Path) -> Source | None:
    match = _MEAD.search(place)
    if match is None:
        return None
    speaker, camera, emotion, level, number = match.groups()
    beside = path.parents[4] / "audio" / emotion / level
    sound = next((file for suffix in _SOUND_SUFFIXES if (file := beside / f"{number}{suffix}").is_file()), None)
    return Source(path, speaker, f"{emotion}-{level}-{number}", "" if camera in CAMERAS else camera, sound)


def _crema_d(place: str, path: Path, _: Path) -> Source | None:
    match = _CREMA_D.search(place)
    return None if match is None else Source(path, match[2], match[1])


def _hdtf(place: str, path: Path, _: Path) -> Source | None:
    match = _HDTF.search(place)
    if match is None:
        return None
    address = _ADDRESS.fullmatch(match[2])
    return Source(path, _speaker(address[1] if address else match[2]), _take(match[1]))


def _grid(_: str, path: Path, folder: Path) -> Source | None:
    prefix = _PREFIX.match(path.name) or _GRID.search(f"{folder.resolve().name}/{path.relative_to(folder).as_posix()}")
    return None if prefix is None else Source(path, prefix[1], _take(path.stem))


def _generic(_: str, path: Path, folder: Path) -> Source | None:
    prefix, inside = _PREFIX.match(path.name), path.relative_to(folder).with_suffix("").parts
    speaker = inside[0] if len(inside) > 1 else folder.resolve().name
    return Source(path, prefix[1] if prefix else _speaker(speaker), _take("-".join(inside[1:] or inside)))


_READERS: dict[str, Callable[[str, Path, Path], Source | None]] = {
    "lrs3": _lrs3,
    "mead": _mead,
    "crema-d": _crema_d,
    "hdtf": _hdtf,
    "grid": _grid,
    "generic": _generic,
}
_OWN_NAMES: dict[LayoutName, re.Pattern[str]] = {
    "lrs3": _LRS3, "mead": _MEAD, "crema-d": _CREMA_D, "hdtf": _HDTF_OWN,
}  # fmt: skip
"""Names that nothing but the corpus itself has."""


def _speaker(name: str) -> str:
    """A speaker's name that can begin a clip's."""
    return _short(name.replace("__", "_").replace(_PART, "-")) or "speaker"


def _take(name: str) -> str:
    """A clip's name that no part of another clip has."""
    return _short(name.replace(_PART, "-"))


def _short(name: str) -> str:
    encoded = name.encode(errors="surrogateescape")
    if len(encoded) <= _NAME_BYTES:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:12]
    return f"{encoded[: _NAME_BYTES - 13].decode(errors='ignore')}-{digest}"


def _of_cameras(sources: list[Source], cameras: Sequence[str]) -> list[Source]:
    """Those of the chosen cameras.

    Raises:
        InputError: there are none.
    """
    if ALL_CAMERAS in cameras:
        return sources
    wanted = {"" if camera in CAMERAS else camera for camera in cameras}
    there = {source.camera for source in sources}
    if there == {""}:
        # Only one camera: there is nothing to choose.
        return sources
    taken = [source for source in sources if source.camera in wanted]
    if not taken:
        names = ", ".join(sorted(camera or CAMERAS[0] for camera in there))
        raise InputError(f"no video is of the camera {', '.join(cameras)}", f"choose of {names} with --cameras, or all")
    return taken


def _check_names(sources: list[Source]) -> None:
    for first, second in itertools.pairwise(sources):
        if first.name == second.name:
            raise InputError(
                f"two clips are named {first.name}: {first.path} and {second.path}",
                "leave one out, or give each speaker a folder or a prefix (s01_clip.mp4)",
            )
