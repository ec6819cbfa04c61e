"""report.html: one page that loads nothing from anywhere. Every text from outside is escaped.

Pictures and films stand in the page as data URIs, curves as inline SVG; a content security policy forbids all else, so
that even a text that slipped through unescaped could neither run nor fetch. Without scripts, it reads the same printed.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from geneface.evaluation.report.film import Film
from geneface.evaluation.report.plots import PLOT_STYLE, LipCurve, Plot, draw_lip_curve, draw_plot
from geneface.evaluation.report.sheet import ERROR_GAIN, MEAN_ERROR_GAIN
from geneface.evaluation.schema import Direction, EvaluationReport, Figure, MetricDefinition, MetricTable
from geneface.io.image import encode_png
from geneface.types import ByteArray

_COLUMNS = 8
"""A table of more metrics is cut into blocks of at most these, so that it fits a screen and a sheet of paper."""
_BETTER: dict[Direction, str] = {
    "higher": "\u2191 higher is better",
    "lower": "\u2193 lower is better",
    "one": "\u2192 1 is best",
    "zero": "\u2192 0 is best",
    "count": "a count",
}
_POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E"
    "%3Cpath d='M0 4q2-4 4 0t4 0' fill='none' stroke='%23d96a00'/%3E%3C/svg%3E"
)
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2733; --soft: #5c6773; --line: #d9e0e7; --tint: #f3f5f8;
  --link: #0b5cad }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #14191f; --ink: #e4e9ee; --soft: #9ba7b3;
  --line: #333d47; --tint: #1d242c; --link: #7dbcff } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto 4em; max-width: 1160px; padding: 0 1em;
  color: var(--ink); background: var(--paper); overflow-wrap: break-word }
h1 { font-size: 1.6em; line-height: 1.25; margin-bottom: .2em }
h2 { font-size: 1.2em; margin: 2.2em 0 .5em; padding-top: .6em; border-top: 1px solid var(--line) }
h3 { font-size: 1em; margin: 1.4em 0 .3em } a { color: var(--link) }
.skip { position: absolute; left: -100vw } .skip:focus { left: 1em; top: .5em; background: var(--paper); padding: .3em }
nav ol { columns: 15em; padding-left: 2em; margin: .3em 0 }
.scroll { overflow-x: auto; max-width: 100%; margin: .5em 0 } :focus-visible { outline: 2px solid var(--link) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93em }
caption { text-align: left; color: var(--soft); padding: .3em 0 }
th, td { padding: .35em .7em; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top }
thead th { font-weight: 600; line-height: 1.3; min-width: 7.2em; max-width: 10em; vertical-align: bottom }
th:first-child { text-align: left; min-width: 9em; max-width: 15em; font-weight: inherit }
thead small { display: block } small, .soft { color: var(--soft); font-weight: 400; font-size: .87em }
tr.evaluated { font-weight: 650 } tr.control { color: var(--soft) } tbody tr.evaluated th { font-weight: 650 }
.uninformative, .uninformative small { color: var(--soft); font-weight: 400; background: var(--tint) }
.uninformative strong { display: block; font-size: .87em }
.notes { color: var(--soft); font-size: .87em; padding-left: 2em }
.notes :target { color: var(--ink) } sup { line-height: 0 }
figure { margin: 1.2em 0 } figcaption { margin-top: .3em } img, video { max-width: 100%; height: auto; display: block }
video { background: #000 } .wide { min-width: 760px } svg { display: block; max-width: none }
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(13em, 1fr)); gap: 1em }
.maps figure { margin: 0 } .maps img { width: 100% }
.scale { max-width: 26em } .scale div { display: flex; justify-content: space-between }
.scale i { display: block; height: 1em; border: 1px solid var(--soft); print-color-adjust: exact;
  background: linear-gradient(to right, #000, #f00, #ff0, #fff) }
dt { font-weight: 600; margin-top: .7em } dd { margin: 0 0 0 1.2em }
dl.facts { columns: 16em } dl div { break-inside: avoid } .facts dt { margin-top: 0 }
summary { cursor: pointer }
@media (min-width: 700px) { tbody th { position: sticky; left: 0; background: var(--paper) } }
@media print { body { font-size: 10px; max-width: none; margin: 0 } nav, .skip, section:has(video) { display: none }
  .scroll { overflow: visible } svg.plot { max-width: 100% } table, figure, tr { break-inside: avoid }
  h2, h3, p.soft { break-after: avoid }
  th, td { padding: .2em .4em } thead th, .wide { min-width: 0 } }
""".strip()


@dataclass(frozen=True)
class Picture:
    """A sheet of pictures: a file next to the page, and shown in it."""

    title: str
    path: Path
    """A JPEG."""
    caption: str


@dataclass(frozen=True)
class ReportMedia:
    """What the page shows besides its tables."""

    curves: Sequence[LipCurve] = ()
    plots: Sequence[Plot] = ()
    films: Sequence[Film] = ()
    error_maps: Sequence[tuple[str, ByteArray]] = ()
    """Name and picture [H, W, 3], from `sheet.mean_error_map`."""
    sheet: Path | None = None
    """A PNG from `sheet.contact_sheet`."""
    driven: Sequence[Picture] = ()


def render_page(report: EvaluationReport, media: ReportMedia) -> str:
    """The whole page."""
    title = f"Evaluation of {report.subject}"
    against = f"Compared with {report.reference}." if report.reference else "There is nothing to compare it with."
    sections = [
        *((table.title, _table(table, report.definitions, f"t{i}")) for i, table in enumerate(report.tables.values())),
        ("Driven beyond the recording, in pictures", "".join(_picture(picture) for picture in media.driven)),
        ("Videos", "".join(_film(film) for film in media.films)),
        ("Lip opening over time", _curves(media.curves)),
        ("Curves", "".join(_plot(plot, f"plot{i}") for i, plot in enumerate(media.plots))),
        ("Frames", _sheet(media.sheet)),
        ("Where the errors are", _error_maps(media.error_maps)),
        ("As trained", _as_trained(report.as_trained)),
        ("What the figures mean", _definitions(report.definitions)),
        ("Measured with", _facts(report)),
    ]
    shown = [(f"section{i}", heading, content) for i, (heading, content) in enumerate(sections) if content]
    links = "".join(f'<li><a href="#{ident}">{_text(heading)}</a></li>' for ident, heading, _ in shown)
    body = "\n".join(
        f'<section aria-labelledby="{ident}"><h2 id="{ident}">{_text(heading)}</h2>{content}</section>'
        for ident, heading, content in shown
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="{_ICON}"><title>{_text(title)}</title>\n<style>{_STYLE}\n{PLOT_STYLE}</style></head>\n'
        f'<body><a class="skip" href="#main">Skip to the figures</a><header><h1>{_text(title)}</h1>'
        f'<p>{_text(against)}</p></header>\n<nav aria-label="Contents"><ol>{links}</ol></nav>\n'
        f'<main id="main">{body}</main></body></html>\n'
    )


def format_figure(key: str, item: Figure) -> str:
    """The number as people read it, or n/a. Offsets carry their sign."""
    if item.value is None:
        return "n/a"
    value = item.value
    if key.endswith("offset_frames"):
        return f"{value:+.0f}" if value == round(value) else f"{value:+.2f}"
    size = abs(value)
    if size < 1e-3:
        return f"{value:.2g}"
    return f"{value:.{2 if size >= 10 else 3 if size >= 0.1 else 5}f}"


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


class _Notes:
    """Numbered notes below a table, each wording once."""

    def __init__(self, prefix: str) -> None:
        self._prefix, self._texts = prefix, list[str]()

    def mark(self, text: str) -> str:
        if text not in self._texts:
            self._texts.append(text)
        number = self._texts.index(text) + 1
        return f'<sup><a href="#{self._prefix}-note{number}" aria-label="note {number}">{number}</a></sup>'

    def list(self) -> str:
        items = "".join(f'<li id="{self._prefix}-note{i}">{_text(text)}</li>' for i, text in enumerate(self._texts, 1))
        return f'<ol class="notes">{items}</ol>' if items else ""


def _table(table: MetricTable, definitions: dict[str, MetricDefinition], ident: str) -> str:
    keys = list(dict.fromkeys(key for row in table.rows for key in row.figures))
    notes = _Notes(ident)
    blocks = -(-len(keys) // _COLUMNS)
    cuts = [round(i * len(keys) / blocks) for i in range(blocks + 1)] if blocks else []
    parts = [f'<p class="soft">{_text(table.note)}</p>' if table.note else ""]
    for i, (start, stop) in enumerate(pairwise(cuts), 1):
        label = table.title + (f", part {i} of {blocks}" if blocks > 1 else "")
        parts.append(_scroll(label, _block(table, keys[start:stop], definitions, notes, label)))
    return "".join(parts) + notes.list() + _controls(table, definitions)


def _block(
    table: MetricTable, keys: Sequence[str], definitions: dict[str, MetricDefinition], notes: _Notes, label: str
) -> str:
    dull = {key for key in keys if key in table.verdicts and not table.verdicts[key].informative}
    heads = []
    for key in keys:
        item = definitions[key]
        unit = "no unit" if item.unit == "1" else item.unit
        mark = f"<strong>not informative here{notes.mark(table.verdicts[key].reason)}</strong>" if key in dull else ""
        heads.append(
            f'<th scope="col"{_dull(key in dull)}>{_text(item.title)}{mark}<small>{_text(unit)}</small>'
            f"<small>{_BETTER[item.direction]}</small></th>"
        )
    rows = []
    for row in table.rows:
        cells = "".join(_cell(key, row.figures.get(key), notes, key in dull) for key in keys)
        kind = " <small>(control)</small>" if row.role == "control" else ""
        rows.append(f'<tr class="{row.role}"><th scope="row">{_text(row.name)}{kind}</th>{cells}</tr>')
    return (
        f"<table><caption>{_text(label)}</caption><thead><tr><td></td>{''.join(heads)}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _dull(is_dull: bool) -> str:
    return ' class="uninformative"' if is_dull else ""


def _cell(key: str, item: Figure | None, notes: _Notes, is_dull: bool) -> str:
    mark = notes.mark(item.reason) if item is not None and item.reason is not None else ""
    return f"<td{_dull(is_dull)}>{'' if item is None else format_figure(key, item)}{mark}</td>"


def _controls(table: MetricTable, definitions: dict[str, MetricDefinition]) -> str:
    """What the controls say: by control, which metrics are blind to it; then every verdict with its reason."""
    if not table.verdicts:
        return ""
    titles = {key: definitions[key].title if key in definitions else key for key in table.verdicts}
    blind: dict[str, list[str]] = {}
    for key, verdict in table.verdicts.items():
        for control in verdict.blind_to:
            blind.setdefault(control, []).append(titles[key])
    lines = [
        f"<li><strong>{_text(control)}</strong> cannot be told from the ground truth by: "
        f"{_text('; '.join(names))}.</li>"
        for control, names in blind.items()
    ]
    seeing = [titles[key] for key, verdict in table.verdicts.items() if not verdict.blind_to]
    if seeing:
        lines.append(f"<li>Every control can be told from the ground truth by: {_text('; '.join(seeing))}.</li>")
    marks = {True: "", False: " (not informative here)"}
    reasons = "".join(
        f"<li>{_text(titles[key])}{marks[verdict.informative]}: {_text(verdict.reason)}</li>"
        for key, verdict in table.verdicts.items()
    )
    return (
        f"<h3>What the controls say</h3><ul>{''.join(lines)}</ul>"
        f"<details><summary>Metric by metric</summary><ul>{reasons}</ul></details>"
    )


def _scroll(label: str, content: str) -> str:
    """A box that scrolls sideways by itself, also by keyboard."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{_text(label)}">{content}</div>'


def _film(film: Film) -> str:
    # The fragment makes the browser show the first picture instead of black before anyone presses play.
    data = base64.b64encode(film.path.read_bytes()).decode("ascii")
    return (
        f'<figure><h3>{_text(film.title)}</h3><video controls preload="metadata" playsinline '
        f'aria-label="{_text(film.title)}" src="data:video/mp4;base64,{data}#t=0.001"></video>'
        f'<figcaption class="soft">{_text(film.caption)}</figcaption></figure>'
    )


def _curves(curves: Sequence[LipCurve]) -> str:
    if not curves:
        return ""
    figures = (
        f"<figure><h3>{_text(curve.name)}</h3>{_scroll(curve.name, draw_lip_curve(curve, f'curve{i}'))}</figure>"
        for i, curve in enumerate(curves)
    )
    return '<p class="soft">Grey: the sound. Above it the words, where they are known.</p>' + "".join(figures)


def _plot(plot: Plot, ident: str) -> str:
    note = f'<figcaption class="soft">{_text(plot.note)}</figcaption>' if plot.note else ""
    return f"<figure><h3>{_text(plot.title)}</h3>{_scroll(plot.title, draw_plot(plot, ident))}{note}</figure>"


def _sheet(sheet: Path | None) -> str:
    if sheet is None:
        return ""
    image = f'<img class="wide" alt="Reference next to evaluated frames" src="{_png_uri(sheet.read_bytes())}">'
    return (
        '<p class="soft">From left to right: reference, evaluated, error (mean absolute difference of the channels: '
        f"black is 0, then red, yellow, white from {255 / ERROR_GAIN:.0f} levels of 255); the mouth of each below. "
        "Where the avatar carries a video of the person: reference, drawn whole, lower face drawn and pasted into the "
        "recording, error of the pasted one.</p>"
    ) + _scroll("Frames", image)


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.path.read_bytes()).decode("ascii")
    image = f'<img class="wide" alt="{_text(picture.title)}" src="data:image/jpeg;base64,{data}">'
    return f'<h3>{_text(picture.title)}</h3><p class="soft">{_text(picture.caption)}</p>{_scroll(picture.title, image)}'


def _error_maps(maps: Sequence[tuple[str, ByteArray]]) -> str:
    if not maps:
        return ""
    largest = 255 / MEAN_ERROR_GAIN
    marks = "".join(f"<span>{largest * i / 3:.0f}{' and more' if i == 3 else ''}</span>" for i in range(4))
    figures = "".join(
        f'<figure><img alt="Mean error of {_text(name)}" src="{_png_uri(encode_png(image))}">'
        f"<figcaption>{_text(name)}</figcaption></figure>"
        for name, image in maps
    )
    return (
        '<p class="soft">Mean absolute difference from the ground truth at each pixel, over channels and frames.</p>'
        f'<div class="scale soft" role="img" aria-label="Black is 0, white {largest:.0f} and more"><i></i>'
        f'<div>{marks}</div><div>levels of 255</div></div><br><div class="maps">{figures}</div>'
    )


def _png_uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def _as_trained(stored: dict[str, Any] | None) -> str:
    if stored is None:
        return ""
    heading = '<p class="soft">Stored with the avatar, not measured now.</p>'
    try:
        report = EvaluationReport.model_validate(stored)
    except ValidationError:
        return heading + "<p>Written by another version: see metrics.json.</p>"
    return heading + "".join(
        f"<h3>{_text(table.title)}</h3>{_table(table, report.definitions, f's{i}')}"
        for i, table in enumerate(report.tables.values())
    )


def _definitions(definitions: dict[str, MetricDefinition]) -> str:
    titles: dict[str, list[str]] = {}
    for item in definitions.values():
        titles.setdefault(item.description, []).append(item.title)
    return _terms(("; ".join(names), description) for description, names in titles.items())


def _facts(report: EvaluationReport) -> str:
    facts = report.versions | report.machine
    return _terms(((key.replace("_", " "), value) for key, value in facts.items()), ' class="facts"')


def _terms(items: Iterable[tuple[str, object]], attributes: str = "") -> str:
    pairs = "".join(f"<div><dt>{_text(term)}</dt><dd>{_text(meaning)}</dd></div>" for term, meaning in items)
    return f"<dl{attributes}>{pairs}</dl>" if pairs else ""
