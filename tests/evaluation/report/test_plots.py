"""Plots, read back from their SVG."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from geneface.evaluation.report.plots import LipCurve, Plot, Series, axis_ticks, draw_lip_curve, draw_plot
from geneface.types import SPEECH_RATE_HZ


def read(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def paths(svg: str) -> list[ElementTree.Element]:
    """Lines of the data: the legend's are drawn with a single horizontal step."""
    return [e for e in read(svg).iter("path") if not e.get("d", "").endswith("h28")]


def points(path: ElementTree.Element) -> np.ndarray:
    return np.array(re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path.get("d", "")), np.float64).reshape(-1, 2)


def labels(svg: str, anchor: str) -> dict[float, tuple[float, float]]:
    """Ticks: number -> x, y of its text."""
    found = {}
    for e in read(svg).iter("text"):
        if e.get("text-anchor") == anchor and re.fullmatch(r"-?[\d.e+-]+", e.text or ""):
            found[float(e.text or "")] = (float(e.get("x", "")), float(e.get("y", "")))
    return found


def line_plot(*series: Series) -> str:
    return draw_plot(Plot("A title", "seconds", "levels", series), "p1")


def test_points_lie_where_the_axes_say() -> None:
    x, y = np.array([0.0, 1, 2.5, 4]), np.array([-1.5, 2, 0, 3])
    svg = line_plot(Series("a", x, y))
    x_ticks, y_ticks = labels(svg, "middle"), labels(svg, "end")
    assert len(x_ticks) >= 4 and len(y_ticks) >= 4
    # The ticks' labels give the scale independently of the code's own mapping.
    x_of = np.polyfit([p[0] for p in x_ticks.values()], list(x_ticks), 1)
    y_of = np.polyfit([p[1] - 4 for p in y_ticks.values()], list(y_ticks), 1)
    drawn = points(paths(svg)[0])
    assert np.polyval(x_of, drawn[:, 0]) == pytest.approx(x, abs=0.01)
    assert np.polyval(y_of, drawn[:, 1]) == pytest.approx(y, abs=0.05)


def test_nan_breaks_the_line_and_a_lonely_point_is_a_dot() -> None:
    y = np.array([1, 2, np.nan, 3, np.nan, np.inf, 4, 5, 6])
    line, dot = paths(line_plot(Series("a", np.arange(9.0), y)))
    drawn = line.get("d", "")
    assert re.sub(r"[^ML]", "", drawn) == "ML" + "M" + "MLL"
    assert dot.get("d", "").count("h0") == 1
    assert points(dot)[0] == pytest.approx(points(line)[2])


def test_series_differ_in_colour_and_dashes() -> None:
    series = [Series(f"name {i}", np.arange(3.0), np.arange(3.0) + i) for i in range(12)]
    svg = line_plot(*series)
    looks = [(path.get("style"), path.get("stroke-dasharray")) for path in paths(svg)]
    assert len(set(looks)) == 12
    legend = [e for e in read(svg).iter("path") if e.get("d", "").endswith("h28")]
    assert [(e.get("style"), e.get("stroke-dasharray")) for e in legend] == looks
    texts = [e.text or "" for e in read(svg).iter("text")]
    assert [t for t in texts if t.startswith("name")] == [s.name for s in series]


def test_the_legend_wraps_above_the_data() -> None:
    svg = line_plot(*(Series(f"a rather long name of a row {i}", np.arange(3.0), np.arange(3.0)) for i in range(7)))
    root = read(svg)
    width, height = map(float, root.get("viewBox", "").split()[2:])
    names = [e for e in root.iter("text") if (e.text or "").startswith("a rather")]
    assert len({e.get("y") for e in names}) > 1
    assert max(float(e.get("x", "")) for e in names) < width - 100
    assert max(float(e.get("y", "")) for e in names) < min(points(p)[:, 1].min() for p in paths(svg))
    assert all(0 <= v <= height for p in paths(svg) for v in points(p)[:, 1])


def test_screen_readers_get_a_title_and_the_range() -> None:
    root = read(line_plot(Series("a", np.arange(3.0), np.array([0.5, 2, 1]))))
    named = {e.get("id"): e.text for e in root if e.tag in ("title", "desc")}
    assert root.get("role") == "img"
    assert [named[i] for i in root.get("aria-labelledby", "").split()] == [
        "A title",
        "levels over seconds. a: 0.5 to 2.",
    ]


@pytest.mark.parametrize("y", [[], [np.nan, np.nan]])
def test_a_plot_of_nothing_says_so(y: list[float]) -> None:
    svg = line_plot(Series("a", np.arange(float(len(y))), np.array(y)))
    assert "no values" in svg and "nan" not in svg
    assert "no values" in line_plot()


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-9, 1e9])
def test_constants_and_single_points_have_room(value: float) -> None:
    for count in (1, 5):
        svg = line_plot(Series("a", np.arange(float(count)), np.full(count, value)))
        y = np.concatenate([points(path) for path in paths(svg)])[:, 1]
        ticks = [position[1] for position in labels(svg, "end").values()]
        assert min(ticks) < y.min() and y.max() < max(ticks)


@pytest.mark.parametrize("low, high", [(0, 1), (-0.3, 7.1), (1e-7, 3e-6), (995, 1005), (-15, 15), (0, 0.3)])
@pytest.mark.parametrize("inside", [True, False])
def test_ticks_are_round_even_and_cover(low: float, high: float, inside: bool) -> None:
    ticks = np.array(axis_ticks(low, high, 6, inside=inside))
    step = np.diff(ticks)
    assert 2 <= len(ticks) <= 9 and step == pytest.approx(step[0])
    mantissa = step[0] / 10 ** np.floor(np.log10(step[0]) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 5)) < 1e-6
    small = 1e-9 * (high - low)
    if inside:
        assert ticks[0] >= low - small and ticks[-1] <= high + small
        assert ticks[0] - step[0] < low and ticks[-1] + step[0] > high
    else:
        assert ticks[0] <= low + small and ticks[-1] >= high - small
        assert ticks[0] + step[0] > low and ticks[-1] - step[0] < high


def test_the_waveform_lies_under_its_moment() -> None:
    """Loud from 1 s to 2 s only; the envelope is naive minima and maxima."""
    samples = np.zeros(3 * SPEECH_RATE_HZ, np.float32)
    rng = np.random.default_rng(0)
    samples[SPEECH_RATE_HZ : 2 * SPEECH_RATE_HZ] = rng.uniform(-0.5, 0.5, SPEECH_RATE_HZ)
    svg = draw_lip_curve(LipCurve("c", None, np.linspace(0, 1, 75), samples), "c1")
    polygon = next(read(svg).iter("polygon"))
    outline = np.array([p.split(",") for p in polygon.get("points", "").split()], np.float64)
    upper, lower = outline[: len(outline) // 2], outline[len(outline) // 2 :][::-1]
    ticks = labels(svg, "middle")
    seconds = np.polyval(np.polyfit([p[0] for p in ticks.values()], list(ticks), 1), upper[:, 0])
    height = lower[:, 1] - upper[:, 1]
    loud = height > 0.5 * height.max()
    assert seconds[loud].min() == pytest.approx(1, abs=0.01) and seconds[loud].max() == pytest.approx(2, abs=0.01)
    assert loud[(seconds > 1.01) & (seconds < 1.99)].mean() > 0.99
    assert height[seconds < 0.99].max() == 0
    edges = [round(i * len(samples) / len(upper)) for i in range(len(upper) + 1)]
    i = len(upper) // 2
    naive = samples[edges[i] + 1 : edges[i + 1] - 1]
    half = height.max() / 2 / 0.5
    assert height[i] >= half * (naive.max() - naive.min()) - 0.2
    assert svg.index("<polygon") < svg.index(paths(svg)[0].get("d", "?")), "the curve is drawn over it"


def test_both_openings_share_scale_and_time() -> None:
    opening = np.array([0.0, 0.02, 0.04, 0.01])
    svg = draw_lip_curve(LipCurve("c", opening, opening / 2), "c1")
    truth, evaluated = (points(path) for path in paths(svg))
    assert [path.get("class") for path in paths(svg)] == ["truth", "evaluated"]
    assert truth[:, 0] == pytest.approx(evaluated[:, 0])
    base = truth[0, 1]
    assert base - evaluated[:, 1] == pytest.approx((base - truth[:, 1]) / 2, abs=0.11)
    assert "reference" not in draw_lip_curve(LipCurve("c", None, opening), "c1")


def test_words_stand_over_their_spans() -> None:
    words = ((0.2, 0.6, "bin"), (0.6, 1.0, "blue"), (1.0, 1.8, "<at>"))
    svg = draw_lip_curve(LipCurve("c", None, np.ones(50), None, words), "c1")
    ticks = labels(svg, "middle")
    to_px = np.polyfit(list(ticks), [p[0] for p in ticks.values()], 1)
    found = {e.text: float(e.get("x", "")) for e in read(svg).iter("text") if e.get("class") == "word"}
    assert list(found) == ["bin", "blue", "<at>"]
    for start, end, word in words:
        assert found[word] == pytest.approx(np.polyval(to_px, (start + end) / 2), abs=0.2)
    spans = [(float(e.get("x", "")), float(e.get("width", ""))) for e in read(svg).iter("rect")]
    for (start, end, _), (x, width) in zip(words, spans, strict=True):
        assert x == pytest.approx(np.polyval(to_px, start), abs=0.2)
        assert x + width == pytest.approx(np.polyval(to_px, end), abs=0.2)
    assert "bin blue &lt;at&gt;" in svg


def test_crowded_words_do_not_overlap() -> None:
    words = tuple((0.05 * i, 0.05 * i + 0.05, f"word{i}") for i in range(38))
    root = read(draw_lip_curve(LipCurve("c", None, np.ones(50), None, words), "c1"))
    shown = [e for e in root.iter("text") if e.get("class") == "word"]
    assert len(shown) > 10
    assert len(list(root.iter("rect"))) == 38 and len(list(root.iter("title"))) == 39
    for row in {e.get("y") for e in shown}:
        x = np.sort([float(e.get("x", "")) for e in shown if e.get("y") == row])
        assert len(x) < 2 or np.diff(x).min() >= 5 * 6


def test_long_clips_grow_and_silence_draws_no_wave() -> None:
    wide = read(draw_lip_curve(LipCurve("c", None, np.ones(25 * 60)), "c1"))
    assert float(wide.get("viewBox", "").split()[2]) >= 3600
    svg = draw_lip_curve(LipCurve("c", None, np.zeros(25), np.zeros(SPEECH_RATE_HZ, np.float32)), "c1")
    assert "polygon" not in svg and "nan" not in svg
    assert draw_lip_curve(LipCurve("c", None, np.zeros(0)), "c1")
