"""The card of an avatar: a README.md that says whose face it is, who agreed, how good it is, and how to use it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from geneface.types import VIDEO_RATE_HZ

_BEGIN, _END = "<!-- figures -->", "<!-- end of figures -->"
_NOT_YET = (
    "Pictures of held-out frames: not measured yet, `geneface evaluate AVATAR --portrait PORTRAIT -o REPORT --store` "
    "does it."
)
_OF_TRAINING = {"blink", "driven", "adaptation"}
"""Tables that a training leaves behind itself."""


def card_text(config: Mapping[str, Any], path_frames: int, body: str | None = None) -> str:
    """The card of a new avatar.

    Args:
        config: fields of `AvatarConfig`.
        path_frames: length of the pose path.
        body: how much of the person's own video the avatar holds, in words; None: nothing.
    """
    made = "\n".join(
        f"| {_plain(key.replace('_', ' '))} | {_plain(value)} |" for key, value in config["training"].items()
    )
    attribution = _plain(config["attribution"]) or "none required"
    if body is None:
        holds = "It holds weights, a computed\nbackground plate and statistics; no frame of the source video is in it."
    else:
        holds = (
            "It holds weights, a computed\nbackground plate, statistics, and a part of the person's own video: "
            f"{_plain(body)} (`body.mp4`).\nWho has the avatar has these pictures."
        )
    return f"""# Avatar {_plain(config["name"])}

A talking face for geneface: speech in, video out. {holds}

**Videos made with it are synthetic media.** They are marked as such in their metadata; say so wherever you show them.

| | |
|---|---|
| consent | {_plain(config["consent"])} |
| licence | {_plain(config["licence"])} |
| attribution | {attribution} |

## Use

```
geneface render {_plain(config["name"])} --audio speech.wav -o talking.mp4
```

## How it was made

| | |
|---|---|
| renderer | {_plain(config["renderer"])} |
| picture | {config["size"]} x {config["size"]} pixels at {VIDEO_RATE_HZ} frames/s |
| speech encoder | {_plain(config["encoder"])} |
| head movement | a path of {path_frames / VIDEO_RATE_HZ:.1f} s from the training frames, played back and forth |
{made}

## Figures

{_BEGIN}
{_NOT_YET}
{_END}
"""


def with_figures(card: str, metrics: Mapping[str, Any]) -> str:
    """The card with the figures of a metrics.json (`evaluation.schema.EvaluationReport`) in their place."""
    hint = [_NOT_YET] if set(metrics.get("tables", {})) <= _OF_TRAINING else []
    block = "\n".join([_BEGIN, *_figures(metrics), *hint, _END])
    if _BEGIN not in card or _END not in card:
        return f"{card.rstrip()}\n\n{block}\n"
    return re.sub(f"{_BEGIN}.*?{_END}", lambda _: block, card, flags=re.DOTALL)


def _figures(metrics: Mapping[str, Any]) -> Iterator[str]:
    """A Markdown table for each table of the metrics: what is evaluated, without figures that could not be had.

    Of a training's own table in which there is none, the reason is told.
    """
    definitions = metrics.get("definitions", {})
    for name, table in metrics.get("tables", {}).items():
        rows = [row for row in table.get("rows", []) if row.get("role") == "evaluated"]
        keys = [
            key
            for key in dict.fromkeys(key for row in rows for key in row["figures"])
            if any(row["figures"].get(key, {}).get("value") is not None for row in rows)
        ]
        if not keys:
            reasons = dict.fromkeys(item.get("reason") for row in rows for item in row["figures"].values())
            if name in _OF_TRAINING and reasons:
                yield from ("", f"{_plain(table.get('title'))}: n/a ({_plain('; '.join(map(str, reasons)))}).")
            continue
        names = [_plain(row.get("name")) for row in rows]
        yield from ("", f"| {_plain(table.get('title'))} | {' | '.join(names)} |", "|---" * (len(rows) + 1) + "|")
        for key in keys:
            definition = definitions.get(key, {})
            cells = [_value(row["figures"].get(key, {}).get("value")) for row in rows]
            yield f"| {_plain(definition.get('title', key))} [{_plain(definition.get('unit'))}] | {' | '.join(cells)} |"
    yield ""


def _value(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3g}"


def _plain(value: object) -> str:
    """One line that can't break out of a table cell."""
    return " ".join(str(value if value is not None else "").split()).replace("|", "/").replace("<", "&lt;")
