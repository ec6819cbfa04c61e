"""metrics.json of earlier versions: keys are renamed, numbers are not touched."""

from __future__ import annotations

import copy
from typing import Any

from geneface.evaluation.formats import upgraded
from geneface.evaluation.metrics.registry import DEFINITIONS
from geneface.evaluation.schema import EvaluationReport
from geneface.io.assets import asset_path
from geneface.io.records import read_json


def old_report() -> dict[str, Any]:
    """As it was written in format 2, with another one inside it."""
    figures = {
        "judge_confidence": {"value": 0.653, "reason": None},
        "judge_offset_frames": {"value": None, "reason": "no clip is as long as the judge's window"},
        "brow_jitter": {"value": 0.25, "reason": None},
    }
    table = {
        "title": "Sync",
        "note": "Lips against the sound. The judge is our own expert, which no training ever used as a loss.",
        "rows": [{"name": "the judge", "role": "evaluated", "figures": figures}],
        "verdicts": {"judge_confidence": {"informative": True, "reason": "it sees", "blind_to": []}},
    }
    definition = {"title": "T", "unit": "1", "direction": "lower", "description": "The judge's.", "must_see": []}
    report: dict[str, Any] = {
        "format": 2,
        "subject": "the judge",
        "reference": None,
        "tables": {"sync": table},
        "definitions": dict.fromkeys(figures, definition),
        "as_trained": None,
        "versions": {},
        "machine": {},
    }
    return {**report, "as_trained": copy.deepcopy(report)}


def test_keys_and_what_is_said_of_them_are_those_of_today() -> None:
    old = old_report()
    before = copy.deepcopy(old)
    new = EvaluationReport.model_validate(upgraded(old))
    assert old == before
    row = new.tables["sync"].rows[0]
    assert {key: item.value for key, item in row.figures.items()} == {
        "lip_sync_confidence": 0.653,
        "lip_sync_offset_frames": None,
        "brow_jitter": 0.25,
    }
    assert row.figures["lip_sync_offset_frames"].reason == "no clip is as long as the lip-sync classifier's window"
    assert new.tables["sync"].note.startswith("Lips against the sound. The lip-sync classifier is our own")
    assert new.tables["sync"].verdicts["lip_sync_confidence"].informative
    assert new.definitions["lip_sync_confidence"] == DEFINITIONS["lip_sync_confidence"]
    assert new.definitions["brow_jitter"].description == "The judge's.", "what was not renamed keeps its description"
    # Names are the user's own.
    assert new.subject == "the judge" and row.name == "the judge"
    assert new.as_trained is not None and EvaluationReport.model_validate(new.as_trained).tables == new.tables


def test_what_is_of_today_or_of_no_known_version_stays() -> None:
    new = upgraded(old_report())
    assert upgraded(new) == new
    assert upgraded({"format": 1, "tables": {"judge_distance": 1}}) == {"format": 1, "tables": {"judge_distance": 1}}
    assert upgraded({}) == {}


def test_the_bundled_avatar_carries_todays_keys() -> None:
    stored = read_json(asset_path("avatars", "grid-s1", "metrics.json"))
    report = EvaluationReport.model_validate(stored)
    assert report.tables["sync"].rows[1].figures["lip_sync_confidence"].value
    card = asset_path("avatars", "grid-s1", "README.md").read_text(encoding="utf-8")
    assert "| Lip-sync confidence [1] |" in card and "judge" not in (card + str(stored)).lower()
