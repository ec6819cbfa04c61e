"""How a cost grows, in numbers and as a picture: what `scaling.py` prints and draws.

Two powers are fitted in log-log scale, by least squares through the medians:

power            of the cost itself, everything that does not grow included
increment power  of what is added to the smallest case: of cost - first cost over x - first x; a cost of a + b x has 1,
                 whatever a is. None with less than two such points, or where the cost does not grow.

A cost does not grow if the least of the largest case is no more than the most of the smallest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

LINEAR = 1.05
"""A power up to this is called linear: fits of a few points with noise do not tell more."""
Spread = dict[str, float]
"""Median, min and max."""


@dataclass(frozen=True)
class Curve:
    """A cost over what it may depend on."""

    name: str
    x: list[float]
    y: list[Spread]


@dataclass(frozen=True)
class Panel:
    """Curves that share their axes."""

    title: str
    x_label: str
    y_label: str
    curves: list[Curve]
    x_names: list[str]
    """Of the ticks, one for each x."""


@dataclass(frozen=True)
class Growth:
    """From the smallest case to the largest."""

    x_factor: float
    y_factor: float
    grows: bool
    power: float
    increment_power: float | None

    @property
    def verdict(self) -> str:
        if not self.grows:
            return "does not grow"
        if self.power > LINEAR:
            return "steeper than linear"
        if self.increment_power is not None and self.increment_power > LINEAR:
            return "better than linear as a whole, what is added is steeper"
        return "linear or better"


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Of log y over log x."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def growth(curve: Curve) -> Growth:
    """Needs two points at least."""
    x, y = np.array(curve.x, np.float64), np.array([point["median"] for point in curve.y])
    grows = curve.y[-1]["min"] > curve.y[0]["max"]
    more_x, more_y = x[1:] - x[0], y[1:] - y[0]
    # Cases that noise put below the first have no logarithm.
    above = more_y > 0
    increment = slope(more_x[above], more_y[above]) if grows and above.sum() > 1 else None
    return Growth(float(x[-1] / x[0]), float(y[-1] / y[0]), grows, slope(x, y), increment)


def power_text(found: Growth) -> str:
    power = f"power {round(found.power, 2) + 0.0:.2f}"  # no -0.00
    return power if found.increment_power is None else f"{power}, of the increment {found.increment_power:.2f}"


def panel_numbers(panel: Panel) -> dict[str, Any]:
    """For JSON."""
    curves = []
    for curve in panel.curves:
        found = growth(curve)
        curves.append({**asdict(curve), "growth": {**asdict(found), "verdict": found.verdict}})
    return {**asdict(panel), "curves": curves}


def panel_text(panel: Panel) -> str:
    """A table of the medians (least-most) and a line on the growth for each curve."""
    lines = [f"{panel.title}: {panel.y_label}"]
    for curve in panel.curves:
        lines.append(f"  {curve.name}")
        for name, point in zip(panel.x_names, curve.y, strict=True):
            lines.append(f"    {name:>8}  {short(point['median'])} ({short(point['min'])}-{short(point['max'])})")
        found = growth(curve)
        lines.append(
            f"    {found.x_factor:.3g} times x, {found.y_factor:.3g} times y; {power_text(found)}: {found.verdict}"
        )
    return "\n".join(lines)


def short(value: float) -> str:
    """Three digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(2 - math.floor(math.log10(abs(value))), 0)}f}"


def draw(panels: Sequence[Panel], note: str, path: Path) -> None:
    """One PNG, 1200 px wide. Dotted lines are proportional to x: a curve that is flatter grows less than linearly."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    columns = 1 if len(panels) == 1 else 2
    rows = math.ceil(len(panels) / columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(12, 4.8 * rows + 0.4), dpi=100, squeeze=False)
    for place, panel in zip(axes.flat, panels, strict=False):
        _draw_panel(place, panel)
    for place in axes.flat[len(panels) :]:
        place.set_axis_off()
    figure.text(0.01, 0.008, note, fontsize=9, color="0.35")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path)
    pyplot.close(figure)


def _draw_panel(axes: Any, panel: Panel) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axes.set(xscale="log", yscale="log", title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    for number, curve in enumerate(panel.curves):
        x, y = np.array(curve.x), np.array([point["median"] for point in curve.y])
        below = y - [point["min"] for point in curve.y]
        above = [point["max"] for point in curve.y] - y
        colour, label = f"C{number}", f"{curve.name}: {power_text(growth(curve))}"
        axes.errorbar(x, y, (below, above), color=colour, marker="o", markersize=4, capsize=4, label=label)
        axes.plot(x, y[0] * x / x[0], color=colour, linestyle=":", linewidth=1.2)
    axes.plot([], [], color="0.4", linestyle=":", label="proportional to the first point")
    axes.set_xticks(panel.curves[0].x, panel.x_names)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="major", color="0.9")
    axes.legend(fontsize=9, loc="upper left")
