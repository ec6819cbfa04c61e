"""Every metric is registered once, with all that its reader needs, and explained in docs/metrics.md."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from geneface.evaluation.metrics import registry
from geneface.evaluation.metrics.picture import REGIONS, PictureMetric
from geneface.evaluation.metrics.registry import DEFINITIONS, PICTURE_METRICS
from geneface.evaluation.schema import MetricDefinition
from geneface.evaluation.tools import Tools

FOLDER = Path(registry.__file__).parent
PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def stated(name: str) -> list[MetricDefinition]:
    """The definitions that a file of the folder states."""
    module = importlib.import_module(f"geneface.evaluation.metrics.{name}")
    own = [value.definition for value in vars(module).values() if isinstance(value, PictureMetric)]
    return own + list(getattr(module, "DEFINITIONS", {}).values())


@pytest.mark.parametrize(
    "name", [p.stem for p in FOLDER.glob("*.py") if p.stem not in ("__init__", "registry", "picture", "pixels")]
)
def test_each_file_states_a_metric_and_the_registry_has_it(name: str) -> None:
    found = stated(name)
    assert found
    described = {item.description for item in DEFINITIONS.values()}
    assert all(item.description in described and item.title and item.unit for item in found)


def test_keys_are_of_one_file_each() -> None:
    pictures = {f"{region}_{metric.name}" for region in REGIONS for metric in PICTURE_METRICS}
    assert pictures <= set(DEFINITIONS) and len(pictures) == len(REGIONS) * len(PICTURE_METRICS)
    assert len(DEFINITIONS) == len(pictures) + sum(map(len, registry._DEFINITIONS)), "a key that two files define"


def test_what_a_metric_needs_is_an_instrument() -> None:
    needed = {item.needs for item in DEFINITIONS.values()} - {None}
    assert needed == set(Tools.__annotations__)


def test_the_page_explains_each_key() -> None:
    page = PAGE.read_text(encoding="utf-8")
    explained = set(re.findall(r"`(\w+)`", page))
    own = {metric.name for metric in PICTURE_METRICS} | {
        key
        for key in DEFINITIONS
        if not any(key == f"{region}_{metric.name}" for region in REGIONS for metric in PICTURE_METRICS)
        # Written as endings of their keys.
        and not key.endswith(("_worst_second", "_rise", "_px"))
    }
    assert own <= explained, own - explained
