"""What a first look notes of a source that is not ordinary."""

from __future__ import annotations

import json

import numpy as np
import pytest

from geneface.portrait.notes import describe
from geneface.portrait.scan import SourceScan, scan_source
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
