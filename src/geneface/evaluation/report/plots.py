"""Line plots as inline SVG, and the lip-opening curve over its sound. Everything returned is escaped.

Colours are CSS variables of the page (`PLOT_STYLE` gives the series theirs, in light and dark); a series is told apart
by its dash pattern, too. Coordinates are in SVG units, one a CSS pixel at full size.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.io.words import Words
from geneface.types import SPEECH_RATE_HZ, VIDEO_RATE_HZ, FloatArray

Values = NDArray[np.floating[Any]]

_WIDTH, _PLOT_HEIGHT, _CURVE_HEIGHT = 860, 280, 150
_LEFT, _RIGHT, _BELOW = 62, 14, 40
_CHARACTER, _LINE = 6.6, 18
"""Width of a letter of 12 px, generously, and height of a line of text."""
_CURVE_WIDTH_PER_SECOND = 60
_WORD_ROWS = 3
_DASHES = ("", "9 4", "3 3", "10 3 3 3", "6 3 2 3 2 3")
_LIGHT = ("#0062a8", "#c25700", "#00795a", "#a03c85", "#6b5d00", "#55606c")
_DARK = ("#6cb8ff", "#ff9d4d", "#4fd1a5", "#f08fd0", "#d8c44a", "#b6c0cc")


def _variables(colours: Sequence[str]) -> str:
    return ";".join(f"--series-{i}:{colour}" for i, colour in enumerate(colours))


PLOT_STYLE = f"""
:root {{ {_variables(_LIGHT)}; --wave: #d3dde8; --evaluated: #d96a00 }}
@media screen and (prefers-color-scheme: dark) {{
  :root {{ {_variables(_DARK)}; --wave: #33414f; --evaluated: #ff9d4d }} }}
.plot text {{ font: 12px system-ui, sans-serif; fill: var(--soft) }} .plot .word {{ fill: var(--ink) }}
.plot .axis {{ stroke: var(--soft) }} .plot .grid {{ stroke: var(--line) }} .plot .wave {{ fill: var(--wave) }}
.plot path, .plot .axis, .plot .grid {{ fill: none }}
.plot path {{ stroke-width: 2; stroke-linejoin: round }}
.plot .dots path {{ stroke-width: 5; stroke-dasharray: none; stroke-linecap: round }}
.plot .truth {{ stroke: var(--ink); stroke-width: 1.5 }} .plot .evaluated {{ stroke: var(--evaluated) }}
""".strip()


@dataclass(frozen=True)
class Series:
    """One line of a plot: y over x, [N] each; nan in y breaks the line."""

    name: str
    x: Values
    y: Values


@dataclass(frozen=True)
class Plot:
    """A line plot."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    note: str = ""


@dataclass(frozen=True)
class LipCurve:
    """Lip opening of one clip, [F] each in face widths, its sound and its words (start and end in seconds, word)."""

    name: str
    reference: Values | None
    other: Values
    samples: FloatArray | None = None
    """[T] at 16 kHz; sample 0 sounds with frame 0."""
    words: Words = ()


@dataclass(frozen=True)
class _Area:
    """The rectangle of the data and the ranges that it shows."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    left: float
    right: float
    top: float
    bottom: float

    def px(self, x: Values | float) -> Any:
        low, high = self.x_range
        return self.left + (x - low) / (high - low) * (self.right - self.left)

    def py(self, y: Values | float) -> Any:
        low, high = self.y_range
        return self.bottom - (y - low) / (high - low) * (self.bottom - self.top)


def draw_plot(plot: Plot, ident: str) -> str:
    """The plot as one <svg>; `ident` is unique in the page and a valid id."""
    x_range = _range(series.x[np.isfinite(series.y)] for series in plot.series)
    y_range = _range(series.y for series in plot.series)
    legend, legend_height = _legend(
        [(series.name, _series_style(i)) for i, series in enumerate(plot.series)], _LEFT, _WIDTH - _RIGHT
    )
    top = legend_height + 10
    bottom = top + _PLOT_HEIGHT - _BELOW - 10
    summaries = [f"{plot.y_label} over {plot.x_label}."]
    if x_range is None or y_range is None:
        middle = f'<text x="{_WIDTH / 2:g}" y="{(top + bottom) / 2:g}" text-anchor="middle">no values</text>'
        return _svg(ident, plot.title, "No values.", _WIDTH, bottom + _BELOW, legend + middle)
    ticks = axis_ticks(*y_range, 6)
    area = _Area(x_range, (ticks[0], ticks[-1]), _LEFT, _WIDTH - _RIGHT, top, bottom)
    parts = [legend, _axes(area, axis_ticks(*x_range, 10, inside=True), ticks, plot.x_label, plot.y_label)]
    for i, series in enumerate(plot.series):
        parts.append(_line(area, series.x, series.y, _series_style(i)))
        if len(finite := series.y[np.isfinite(series.y)]):
            summaries.append(f"{series.name}: {finite.min():.4g} to {finite.max():.4g}.")
    return _svg(ident, plot.title, " ".join(summaries), _WIDTH, bottom + _BELOW, "".join(parts))


def draw_lip_curve(curve: LipCurve, ident: str) -> str:
    """Both openings over the sound's waveform, the words above, seconds below, as one <svg>."""
    lines = [line for line in (curve.reference, curve.other) if line is not None]
    seconds = max([len(line) for line in lines] + [1]) / VIDEO_RATE_HZ
    width = max(_WIDTH, math.ceil(_CURVE_WIDTH_PER_SECOND * seconds) + _LEFT + _RIGHT)
    names = [("evaluated", 'class="evaluated"')]
    if curve.reference is not None:
        names.insert(0, ("reference", 'class="truth" stroke-dasharray="6 2"'))
    legend, legend_height = _legend(names, _LEFT, _WIDTH - _RIGHT)
    word_rows = _word_rows(curve.words, (width - _LEFT - _RIGHT) / seconds)
    top = legend_height + _LINE * (max(word_rows, default=-1) + 1) + 10
    largest = _range([*lines, np.zeros(1)])
    ticks = axis_ticks(*(largest or (0.0, 1.0)), 4)
    area = _Area((0, seconds), (ticks[0], ticks[-1]), _LEFT, width - _RIGHT, top, top + _CURVE_HEIGHT)
    parts = [legend, "" if curve.samples is None else _wave(area, curve.samples)]
    parts.append(_axes(area, axis_ticks(0, seconds, width // 80, inside=True), ticks, "seconds", "face widths"))
    parts += [
        _line(area, np.arange(len(line)) / VIDEO_RATE_HZ, line, style)
        for line, (_, style) in zip(lines, names, strict=True)
    ]
    parts += [_word(area, word, row) for word, row in zip(curve.words, word_rows, strict=True)]
    said = " ".join(word for _, _, word in curve.words)
    description = f"Lip opening in face widths over {seconds:.2f} seconds." + (f" Words: {said}." if said else "")
    return _svg(ident, f"Lip opening, {curve.name}", description, width, area.bottom + _BELOW, "".join(parts))


def axis_ticks(low: float, high: float, count: int, *, inside: bool = False) -> list[float]:
    """Round numbers at steps of 1, 2 or 5 times a power of ten, about `count` of them.

    They enclose [low, high]; with `inside` they lie in it.
    """
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    slack = 1e-9 * (high - low) / step
    first, last = low / step, high / step
    start, stop = (
        (math.ceil(first - slack), math.floor(last + slack))
        if inside
        else (math.floor(first + slack), math.ceil(last - slack))
    )
    return [float(f"{i * step:.12g}") for i in range(start, stop + 1)]


def _range(lines: Iterable[Values]) -> tuple[float, float] | None:
    """Smallest and largest finite value, never equal; None if there is none."""
    values = np.concatenate([np.zeros(0), *(np.asarray(line, np.float64).ravel() for line in lines)])
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    # Below this the ticks' labels would not differ in their digits.
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = 0.5 * abs(low) or 0.5
        return low - room, high + room
    return low, high


def _line(area: _Area, x: Values, y: Values, style: str) -> str:
    """A path through the finite points, broken where y is not; a point without neighbours becomes a dot."""
    finite = np.isfinite(x) & np.isfinite(y)
    joined = np.concatenate([[False], finite[:-1]])
    px, py = area.px(x[finite]), area.py(y[finite])
    steps = [
        f"{'L' if on else 'M'}{a:.1f} {b:.1f}"
        for on, a, b in zip(joined[finite], px.tolist(), py.tolist(), strict=True)
    ]
    # A zero-length step with round caps draws the dot.
    alone = finite & ~joined & ~np.concatenate([finite[1:], [False]])
    dots = [f"M{a:.1f} {b:.1f}h0" for a, b in zip(area.px(x[alone]).tolist(), area.py(y[alone]).tolist(), strict=True)]
    return f'<path {style} d="{"".join(steps)}"/>' + (
        f'<g class="dots"><path {style} d="{"".join(dots)}"/></g>' if dots else ""
    )


def _series_style(index: int) -> str:
    dash = _DASHES[index % len(_DASHES)]
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'style="stroke:var(--series-{index % len(_LIGHT)})"{dashes}'


def _legend(names: Sequence[tuple[str, str]], left: float, right: float) -> tuple[str, float]:
    """Sample lines with their names, wrapped to the width; and the height that they take."""
    x, y, parts = left, _LINE, []
    for name, style in names:
        shown = name if len(name) <= 60 else name[:59] + "\u2026"
        width = 44 + _CHARACTER * len(shown)
        if x > left and x + width > right:
            x, y = left, y + _LINE
        parts.append(f'<path {style} d="M{x:.1f} {y - 5}h28"/><text x="{x + 34:.1f}" y="{y - 1}">{_text(shown)}</text>')
        x += width + 10
    return "".join(parts), y if names else 0


def _axes(area: _Area, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str, y_label: str) -> str:
    left, right, top, bottom = area.left, area.right, area.top, area.bottom
    parts = []
    for tick in y_ticks:
        y = area.py(tick)
        parts.append(
            f'<line class="grid" x1="{left:g}" y1="{y:.1f}" x2="{right:g}" y2="{y:.1f}"/>'
            f'<text x="{left - 8:g}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    for tick in x_ticks:
        x = area.px(tick)
        parts.append(
            f'<line class="axis" x1="{x:.1f}" y1="{bottom:g}" x2="{x:.1f}" y2="{bottom + 4:g}"/>'
            f'<text x="{x:.1f}" y="{bottom + 17:g}" text-anchor="middle">{tick:g}</text>'
        )
    middle = (top + bottom) / 2
    parts.append(
        f'<line class="axis" x1="{left:g}" y1="{bottom:g}" x2="{right:g}" y2="{bottom:g}"/>'
        f'<line class="axis" x1="{left:g}" y1="{top:g}" x2="{left:g}" y2="{bottom:g}"/>'
        f'<text x="{(left + right) / 2:g}" y="{bottom + 34:g}" text-anchor="middle">{_text(x_label)}</text>'
        f'<text x="14" y="{middle:g}" text-anchor="middle" transform="rotate(-90 14 {middle:g})">'
        f"{_text(y_label)}</text>"
    )
    return "".join(parts)


def _wave(area: _Area, samples: FloatArray) -> str:
    """Smallest and largest sample of each pixel column, filled, as high as the area allows."""
    shown = samples[: round(area.x_range[1] * SPEECH_RATE_HZ)]
    peak = float(np.abs(shown).max()) if len(shown) else 0.0
    if not peak > 0:
        return ""
    columns = max(1, round(area.px(len(shown) / SPEECH_RATE_HZ) - area.left))
    starts = np.unique(np.linspace(0, len(shown), columns, endpoint=False).astype(np.int64))
    x = area.px(starts / SPEECH_RATE_HZ)
    middle, half = (area.top + area.bottom) / 2, (area.bottom - area.top) / 2
    high = middle - half * np.maximum.reduceat(shown, starts) / peak
    low = middle - half * np.minimum.reduceat(shown, starts) / peak
    outline = np.stack([np.concatenate([x, x[::-1]]), np.concatenate([high, low[::-1]])], 1)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in outline.tolist())
    return f'<polygon class="wave" points="{points}"/>'


def _word_rows(words: Sequence[tuple[float, float, str]], px_per_second: float) -> list[int]:
    """Row of each word, so that those of a row do not overlap; -1 where there is no room: it is drawn without text."""
    ends = [-math.inf] * _WORD_ROWS
    rows = []
    for start, end, word in words:
        middle, half = (start + end) / 2 * px_per_second, _CHARACTER * len(word) / 2 + 3
        row = next((i for i, taken in enumerate(ends) if middle - half >= taken), -1)
        if row >= 0:
            ends[row] = middle + half
        rows.append(row)
    return rows


def _word(area: _Area, word: tuple[float, float, str], row: int) -> str:
    """The word over its span, and lines down to the axis where it starts and ends."""
    start, end, text = word
    x0, x1 = area.px(start), area.px(end)
    span = (
        f'<rect x="{x0:.1f}" y="{area.top:g}" width="{max(x1 - x0, 0):.1f}" height="{area.bottom - area.top:g}" '
        f'fill="none" class="grid"><title>{_text(text)}</title></rect>'
    )
    if row < 0:
        return span
    y = area.top - 6 - _LINE * row
    return span + f'<text class="word" x="{(x0 + x1) / 2:.1f}" y="{y:g}" text-anchor="middle">{_text(text)}</text>'


def _svg(ident: str, title: str, description: str, width: float, height: float, content: str) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {width:g} {height:g}" style="width:{width:g}px" role="img" '
        f'aria-labelledby="{ident}-title {ident}-text">'
        f'<title id="{ident}-title">{_text(title)}</title><desc id="{ident}-text">{_text(description)}</desc>'
        f"{content}</svg>"
    )


def _text(value: str) -> str:
    return html.escape(value, quote=True)
