"""Word times of a portrait's segments, from a `words.json` next to the clips (`io.words`), by the clips' stems.

In the manifest the times count from the segment's first frame, on the picture's timeline: where the sound was moved
to its picture, the words are moved with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from geneface.errors import InputError
from geneface.io.audio import read_audio
from geneface.io.words import Words, read_words
from geneface.portrait.manifest import PortraitManifest, SegmentInfo
from geneface.portrait.segments import source_stems
from geneface.types import VIDEO_RATE_HZ

WORDS_NAME = "words.json"


def find_words(videos: Sequence[Path], file: Path | None = None) -> dict[Path, Words]:
    """Words of those videos that have any, from `file` or from the `words.json` next to each video.

    Raises:
        InputError: a file is damaged, or the given one is missing or names none of the videos.
    """
    files = {video: file or video.parent / WORDS_NAME for video in videos}
    known = {path: read_words(path) for path in dict.fromkeys(files.values()) if file or path.is_file()}
    found = {video: known[path][video.stem] for video, path in files.items() if video.stem in known.get(path, {})}
    if file and not found:
        raise InputError(
            f"{file} has the words of none of the videos", "its entries are the videos' names without their endings"
        )
    return found


def segment_words(words: Words, begin_seconds: float, frames: int, drift_ppm: float = 0.0) -> Words:
    """Words in seconds from a segment's first frame, clipped to its frames.

    Args:
        words: in seconds of the clip's sound.
        begin_seconds: where in that sound the segment's first frame is.
        drift_ppm: how much later the sound becomes with time.
    """
    length, pace = frames / VIDEO_RATE_HZ, 1 + 1e-6 * drift_ppm
    paced = (((start - begin_seconds) / pace, (end - begin_seconds) / pace, word) for start, end, word in words)
    moved = ((max(start, 0.0), min(end, length), word) for start, end, word in paced)
    return tuple((round(start, 4), round(end, 4), word) for start, end, word in moved if end > start)


def with_words(
    manifest: PortraitManifest,
    videos: Sequence[Path],
    found: Mapping[Path, Words],
    heard: Mapping[Path, float] | None = None,
) -> PortraitManifest:
    """The manifest with the words of those segments whose source has any; other segments keep what they have.

    Args:
        videos: all sources, in the order in which the portrait was made.
        heard: source -> seconds at which its sound begins, as far as it was read already.
    """
    sources = dict(zip(source_stems([str(video) for video in videos]), videos, strict=True))
    begins = dict(heard or {})
    segments = []
    for segment in manifest.segments:
        source = _source(segment, sources)
        if source is not None and source in found:
            if source not in begins:
                begins[source] = read_audio(source).start_seconds
            begin = _first_frame_seconds(segment) - begins[source]
            segment = replace(
                segment, words=segment_words(found[source], begin, segment.frames, segment.sound_drift_ppm)
            )
        segments.append(segment)
    return replace(manifest, segments=tuple(segments))


def _source(segment: SegmentInfo, sources: Mapping[str, Path]) -> Path | None:
    """The video of a segment, whose name is its source's, with a number where there are several segments."""
    for stem in (segment.name, segment.name.rpartition("_")[0]):
        if stem in sources and sources[stem].name == segment.source:
            return sources[stem]
    return None


def _first_frame_seconds(segment: SegmentInfo) -> float:
    """Where on the media's clock the sound of a segment's first frame is: later by as much as the sound is late."""
    return segment.start_seconds + segment.sound_shift_frames / VIDEO_RATE_HZ
