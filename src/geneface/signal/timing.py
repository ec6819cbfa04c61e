"""How video frames, rows of speech features and samples of speech count one another (docs/conventions.md, "Rates").

Frame i owns rows 2i and 2i + 1, and samples 640 i to 640 i + 639.
"""

from __future__ import annotations

from geneface.types import FEATURE_RATE_HZ, SPEECH_RATE_HZ, VIDEO_RATE_HZ

SAMPLES_PER_FRAME = SPEECH_RATE_HZ // VIDEO_RATE_HZ
SAMPLES_PER_ROW = SPEECH_RATE_HZ // FEATURE_RATE_HZ
ROWS_PER_FRAME = FEATURE_RATE_HZ // VIDEO_RATE_HZ


def frames_to_cover(samples: int) -> int:
    """Fewest frames that last as long as so many samples: a part of a frame counts as one."""
    return -(-samples // SAMPLES_PER_FRAME)


def whole_frames(samples: int) -> int:
    """Frames that so many samples fill: a part of a frame does not count."""
    return samples // SAMPLES_PER_FRAME


def rows_to_cover(samples: int) -> int:
    """Fewest feature rows that last as long as so many samples."""
    return -(-samples // SAMPLES_PER_ROW)


def whole_rows(samples: int) -> int:
    """Feature rows that so many samples fill."""
    return samples // SAMPLES_PER_ROW
