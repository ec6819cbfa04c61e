"""The instruments of an evaluation: those that are available, and why the others are not.

Some metrics need third-party weights that no package registry carries; they are given by path. Others need an optional
package. Each field of `Tools` is the instrument, or `Missing` with the sentence that stands in place of its figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from geneface.errors import MissingExtraError
from geneface.evaluation.metrics.colour import require_colour
from geneface.evaluation.metrics.fid import InceptionFeatures
from geneface.evaluation.metrics.lip_sync import LipSyncClassifier
from geneface.evaluation.metrics.lpips import Lpips
from geneface.evaluation.metrics.lse import SyncNetScorer
from geneface.evaluation.metrics.niqe import NiqeModel
from geneface.evaluation.networks.weights import weights_needed
from geneface.evaluation.schema import MetricDefinition, Missing
from geneface.io.atomic import sha256
from geneface.io.tensors import TensorFile

Opened = TypeVar("Opened")


@dataclass(frozen=True)
class MetricWeights:
    """Files of third-party weights, as `geneface convert-weights` writes them; None: not given."""

    lpips: Path | None = None
    inception: Path | None = None
    syncnet: Path | None = None


@dataclass(frozen=True)
class Tools:
    """Instruments, or why they are missing."""

    colour: Literal[True] | Missing
    niqe: NiqeModel | Missing
    lpips: Lpips | Missing
    inception: InceptionFeatures | Missing
    syncnet: SyncNetScorer | Missing
    lip_sync: LipSyncClassifier | Missing

    def needed_by(self, metric: MetricDefinition) -> Any:
        """The instrument that a metric is measured with, or `Missing`; None for a metric that needs none."""
        return None if metric.needs is None else getattr(self, metric.needs)


def open_tools(weights: MetricWeights | None = None) -> Tools:
    """Open every instrument that is available.

    Raises:
        InputError: weights were given and are damaged: that must not pass for "n/a".
    """
    weights = weights or MetricWeights()
    return Tools(
        colour=_or_missing(_colour),
        niqe=_or_missing(NiqeModel.load),
        lpips=_given(weights.lpips, "lpips", Lpips.load),
        inception=_given(weights.inception, "inception", InceptionFeatures.load),
        syncnet=_given(weights.syncnet, "syncnet", SyncNetScorer.load),
        lip_sync=_or_missing(LipSyncClassifier.load),
    )


def _given(path: Path | None, network: str, load: Callable[[Path], Opened]) -> Opened | Missing:
    return Missing(weights_needed(network)) if path is None else load(path)


def _or_missing(load: Callable[[], Opened]) -> Opened | Missing:
    try:
        return load()
    except MissingExtraError as error:
        return Missing(str(error))


def _colour() -> Literal[True]:
    require_colour()
    return True


def weights_facts(weights: MetricWeights | None) -> dict[str, str]:
    """What a report must say of third-party weights: whose they are can't be told from their figures."""
    facts = {}
    given = weights or MetricWeights()
    for network, path in (("lpips", given.lpips), ("inception", given.inception), ("syncnet", given.syncnet)):
        if path is not None:
            sources = TensorFile(path).metadata.get("sources_sha256")
            origin = f"converted from sha256 {sources}" if sources else "of unknown origin"
            facts[f"{network} weights"] = f"sha256 {sha256(path)}, {origin}"
    return facts
