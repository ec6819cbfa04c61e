"""metrics.json of earlier versions under the keys of today, so that avatars keep the figures they were given.

Format 2, until November 2026, called the lip-sync classifier a judge. No figure has changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from geneface.evaluation.metrics.lip_sync import DEFINITIONS
from geneface.evaluation.schema import FORMAT

_RENAMED = {
    "judge_confidence": "lip_sync_confidence",
    "judge_distance": "lip_sync_distance",
    "judge_distance_unshifted": "lip_sync_distance_unshifted",
    "judge_offset_frames": "lip_sync_offset_frames",
}
_REWORDED = {
    "The judge is our own expert, which no training ever used as a loss.": "The lip-sync classifier is our own, and no "
    "training ever used it as a loss.",
    "a control of the judge": "a control of the lip-sync classifier",
    "no clip is as long as the judge's window": "no clip is as long as the lip-sync classifier's window",
}


def upgraded(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a metrics.json of format 2 as of format 3; anything else as it is.

    Keys, the definitions of the renamed ones and what is said of them are rewritten; no number is touched.
    """
    if stored.get("format") != 2:
        return dict(stored)
    content = _rewritten(stored, lambda text: text)
    content["format"] = FORMAT
    content["tables"] = _rewritten(content.get("tables") or {}, _reworded)
    known = content.get("definitions") or {}
    content["definitions"] = {
        key: DEFINITIONS[key].model_dump() if key in DEFINITIONS else definition for key, definition in known.items()
    }
    if content.get("as_trained"):
        content["as_trained"] = upgraded(stored["as_trained"])
    return content


def _rewritten(value: Any, reword: Callable[[str], str]) -> Any:
    """JSON with renamed keys, in the order it had, and reworded texts."""
    if isinstance(value, Mapping):
        return {_RENAMED.get(key, key): _rewritten(item, reword) for key, item in value.items()}
    if isinstance(value, list):
        return [_rewritten(item, reword) for item in value]
    return reword(value) if isinstance(value, str) else value


def _reworded(text: str) -> str:
    for old, new in _REWORDED.items():
        text = text.replace(old, new)
    return text
