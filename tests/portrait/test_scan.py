"""What a first look notes of a source that is not ordinary."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from faces import moving_face

from geneface.analysis.tracker import open_detector
from geneface.portrait.notes import describe
from geneface.portrait.scan import FaceSearch, SourceScan, scan_source
from geneface.portrait.survey import Survey


@pytest.mark.slow
def test_gaps_are_cuts_and_what_reading_changes_is_noted(make_media) -> None:
    rng = np.random.default_rng(0)
    wall = [rng.integers(90, 110, (64, 96, 3)).astype(np.uint8)] * 50
    times = [i / 25 for i in range(25)] + [3 + i / 25 for i in range(25)]
    scan, _ = scan_source(make_media("gap.mkv", images=wall, times=times, rotation=90))
    assert scan.cuts == (25, 75) and scan.frames == 100
    assert scan.changes == ("turned by 90 degrees counterclockwise",)
    assert SourceScan.from_json(json.loads(json.dumps(scan.to_json()))) == scan
    notes = describe(Survey([scan], [], [], [], [], [], []), 256, correct_sound=True)
    assert "gap.mkv: turned by 90 degrees counterclockwise" in notes


@pytest.mark.slow
def test_a_face_too_small_for_the_whole_picture_is_found_by_looking_closer() -> None:
    picture = np.full((1080, 1920, 3), 128, np.uint8)
    small = moving_face(1, size=130)[0]
    picture[700:830, 300:430] = small
    with open_detector() as detector:
        assert not len(detector.boxes(picture)), "the test asks for a face that is not seen"
        (near,) = detector.boxes(small) + np.array([300, 700, 300, 700])
        search = FaceSearch(detector)
        # Not every frame is worth looking at all parts.
        assert search.check(picture, 5).box is None
        assert search.check(picture, 25).box == pytest.approx(near, abs=10)
        moved = np.roll(picture, 40, axis=1)
        assert search.check(moved, 30).box == pytest.approx(near + np.array([40, 0, 40, 0]), abs=10)
        # Nothing is made up.
        assert search.check(np.full_like(picture, 128), 50).box is None
