"""What stands in report.html, read back with an HTML parser; `test_browser` shows it to a real browser."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from geneface.evaluation.report.film import Film, write_film
from geneface.evaluation.report.page import ReportMedia, format_figure, render_page
from geneface.evaluation.report.plots import LipCurve, Plot, Series
from geneface.evaluation.report.sheet import mean_error_map
from geneface.evaluation.report.write import METRICS_FILE, REPORT_FILE, software_versions, write_report
from geneface.evaluation.schema import EvaluationReport, Figure, MetricDefinition, MetricRow, MetricTable, Verdict
from geneface.io.image import read_png, write_png

from .pages import BLIND, DULL, KEYS, SLY, make_report, moving_pictures, tone

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Elements with their attributes and text; fails on tags that don't match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[int] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}, []))
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for index in self._open:
            self.elements[index][2].append(data)

    def all(self, tag: str, **attributes: str) -> list[tuple[dict[str, str], str]]:
        wanted = {key.rstrip("_"): value for key, value in attributes.items()}
        return [
            (attrs, "".join(text))
            for name, attrs, text in self.elements
            if name == tag and all(attrs.get(key) == value for key, value in wanted.items())
        ]


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render_page(make_report(), ReportMedia()))


def sly_report() -> EvaluationReport:
    """Every text that comes from outside tries to break out."""
    key = "k"
    row = MetricRow(name=SLY, role="control", figures={key: Figure(reason=SLY)})
    verdict = Verdict(informative=False, reason=SLY, blind_to=[SLY])
    table = MetricTable(title=SLY, note=SLY, rows=[row], verdicts={key: verdict})
    return EvaluationReport(
        subject=SLY,
        reference=SLY,
        tables={SLY: table},
        definitions={key: MetricDefinition(title=SLY, unit=SLY, direction="zero", description=SLY)},
        versions={SLY: SLY},
        machine={SLY: SLY},
    )


def test_every_outside_text_is_escaped(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4", [[moving_pictures(1)[0]]], ["A"], None)
    curve = LipCurve(SLY, None, np.ones(5), words=((0.0, 0.1, SLY),))
    plot = Plot(SLY, SLY, SLY, (Series(SLY, np.arange(2.0), np.arange(2.0)),), SLY)
    film = Film(SLY, tmp_path / "film.mp4", SLY)
    picture = mean_error_map(np.zeros((4, 4)))
    text = render_page(sly_report(), ReportMedia((curve,), (plot,), (film,), ((SLY, picture),)))
    page = Page(text)
    assert "<script" not in text and not page.all("script")
    assert "&lt;script&gt;" in text and SLY not in text
    assert not [key for _, attrs, _ in page.elements for key in attrs if key.startswith("on")]
    assert [name for _, name in page.all("h1")] == [f"Evaluation of {SLY}"]
    assert page.all("video")[0][0]["aria-label"] == SLY, "also inside attributes"


def test_a_table_has_units_directions_and_all_rows(page: Page) -> None:
    assert len(page.all("table")) == 3, "12 metrics in two blocks, and the small table"
    heads = [text for attrs, text in page.all("th", scope="col")]
    assert len(heads) == 13
    for i, text in enumerate(heads[:12]):
        assert f"Title {i}" in text and ("no unit" if i == 0 else "dB") in text
        assert ("higher is better", "lower is better", "1 is best", "0 is best")[i % 4] in text
    for role, count in (("evaluated", 3), ("truth", 2), ("control", 6)):
        assert len(page.all("tr", class_=role)) == count, role
    assert len(page.all("td")) == 3 + 5 * 12 + 1
    assert "27.00" not in page.all("tr", class_="truth")[0][1]
    assert "10.50" in page.all("tr", class_="truth")[0][1]


def test_missing_figures_have_their_reason_once(page: Page) -> None:
    missing = [text for _, text in page.all("td") if text.startswith("n/a")]
    assert len(missing) == 3
    notes = {attrs["id"]: text for attrs, text in page.all("li") if "id" in attrs}
    assert list(notes.values()).count("the face is too small") == 1
    targets = [attrs["href"][1:] for attrs, _ in page.all("a") if attrs["href"].startswith("#t0-note")]
    by_reason = [notes[target] for target in targets]
    assert by_reason.count("the face is too small") == 2 and by_reason.count("nothing moved") == 1


def test_a_metric_that_tells_nothing_is_marked_and_greyed(page: Page) -> None:
    marked = page.all("th", class_="uninformative")
    assert len(marked) == 1 and "not informative here" in marked[0][1] and f"Title {KEYS.index(DULL)}" in marked[0][1]
    assert len(page.all("td", class_="uninformative")) == 5
    notes = [text for attrs, text in page.all("li") if "id" in attrs]
    assert f"{DULL} scores late .4 and the truth .5" in notes
    assert f"{BLIND} scores late .4 and the truth .5" not in notes


def test_what_the_controls_say(page: Page) -> None:
    assert [text for _, text in page.all("h3")].count("What the controls say") == 1, "only where there are verdicts"
    items = [text for attrs, text in page.all("li") if "be told from" in text]
    blind, seeing = f"Title {KEYS.index(BLIND)}", [f"Title {i}" for i in range(12)]
    dull = f"Title {KEYS.index(DULL)}"
    assert items[0] == f"still cannot be told from the ground truth by: {dull}; {blind}."
    others = "; ".join(title for title in seeing if title not in (dull, blind))
    assert items[1] == f"Every control can be told from the ground truth by: {others}."
    assert len(items) == 2
    assert page.all("details")[0][1].count("scores late .4") == 12


def test_contents_lead_to_all_sections(page: Page) -> None:
    headings = {attrs["id"]: text for attrs, text in page.all("h2")}
    links = {attrs["href"][1:]: text for attrs, text in page.all("a") if attrs["href"].startswith("#section")}
    assert links == headings
    assert set(headings.values()) == {"Likeness", "Speed", "What the figures mean", "Measured with"}


def test_equal_meanings_are_explained_once() -> None:
    report = make_report()
    same = {key: item.model_copy(update={"description": "the same"}) for key, item in report.definitions.items()}
    page = Page(render_page(report.model_copy(update={"definitions": same}), ReportMedia()))
    terms = [text for _, text in page.all("dt") if "Title" in text]
    assert terms == ["; ".join(f"Title {i}" for i in range(12))]


def test_media_are_inside_and_whole(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    write_film(film, [[moving_pictures(1)[0]]], ["A"], tone(0.04))
    write_png(tmp_path / "sheet.png", np.full((6, 6, 3), 7, np.uint8))
    heat = mean_error_map(np.linspace(0, 40, 12).reshape(3, 4))
    media = ReportMedia(films=(Film("f", film, "c"),), error_maps=(("row", heat),), sheet=tmp_path / "sheet.png")
    page = Page(render_page(make_report(), media))
    source = page.all("video")[0][0]["src"]
    assert source.startswith("data:video/mp4;base64,")
    assert base64.b64decode(source.split(",")[1].split("#")[0]) == film.read_bytes()
    pictures = []
    for i, (attrs, _) in enumerate(page.all("img")):
        assert attrs["alt"]
        copy = tmp_path / f"{i}.png"
        copy.write_bytes(base64.b64decode(attrs["src"].removeprefix("data:image/png;base64,")))
        pictures.append(read_png(copy))
    assert (pictures[0] == 7).all() and (pictures[1] == heat).all()
    assert "32 and more" in page.all("div", class_="scale soft")[0][1], "white begins at 255 / 8 levels"


def test_nothing_is_loaded_and_nothing_may_be(page: Page) -> None:
    for tag, attrs, _ in page.elements:
        for key in ("src", "href", "data", "poster", "srcset"):
            value = attrs.get(key, "data:")
            assert value.startswith(("data:", "#")), (tag, value)
    styles = "".join(text for _, text in page.all("style"))
    assert "url(" not in styles and "@import" not in styles
    policy = next(attrs["content"] for attrs, _ in page.all("meta") if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'") and "http" not in policy


def test_stored_figures_stand_apart() -> None:
    stored = make_report("before").model_dump()
    text = render_page(make_report(as_trained=stored), ReportMedia())
    page = Page(text)
    assert len(page.all("table")) == 6
    ids = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    other = render_page(make_report(as_trained={"psnr": SLY}), ReportMedia())
    assert "Written by another version" in other and SLY not in other


@pytest.mark.parametrize(
    "key, value, shown",
    [
        ("psnr", 32.1234, "32.12"),
        ("psnr", 0.91234, "0.912"),
        ("psnr", 0.012345678, "0.01235"),
        ("psnr", 0.00004321, "4.3e-05"),
        ("psnr", 0.0, "0"),
        ("psnr", -3.0, "-3.000"),
        ("offset_frames", 2.0, "+2"),
        ("fast_offset_frames", -1.25, "-1.25"),
    ],
)
def test_numbers_as_people_read_them(key: str, value: float, shown: str) -> None:
    assert format_figure(key, Figure(value=value)) == shown


def test_an_absent_figure_is_said_to_be() -> None:
    assert format_figure("psnr", Figure(reason="why")) == "n/a"


def test_both_files_are_written_and_agree(tmp_path: Path) -> None:
    report = make_report()
    write_report(report, tmp_path / "new", ReportMedia())
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted([METRICS_FILE, REPORT_FILE])
    stored = json.loads((tmp_path / "new" / METRICS_FILE).read_text(encoding="utf-8"))
    assert EvaluationReport.model_validate(stored) == report
    assert (tmp_path / "new" / REPORT_FILE).read_text(encoding="utf-8") == render_page(report, ReportMedia())


def test_a_film_that_is_gone_leaves_the_old_page(tmp_path: Path) -> None:
    write_report(make_report("old"), tmp_path, ReportMedia())
    gone = ReportMedia(films=(Film("f", tmp_path / "gone.mp4", ""),))
    with pytest.raises(FileNotFoundError):
        write_report(make_report("new"), tmp_path, gone)
    assert "Evaluation of old" in (tmp_path / REPORT_FILE).read_text(encoding="utf-8")
    assert json.loads((tmp_path / METRICS_FILE).read_text(encoding="utf-8"))["subject"] == "old"


def test_versions_name_what_takes_part() -> None:
    versions = software_versions()
    assert versions["numpy"] == np.__version__
    assert all(re.match(r"\d|not installed", version) for version in versions.values())
