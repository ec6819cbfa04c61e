"""The instruments of an evaluation: what is at hand, and for the rest the reason why not.

Some metrics need third-party weights that no package registry carries; they are given by path. Others need an optional
package. Each field of `Tools` is the instrument, or a sentence that goes into the report in place of a figure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from geneface.errors import MissingExtraError
from geneface.evaluation.metrics.fid import InceptionFeatures
from geneface.evaluation.metrics.image import require_colour
from geneface.evaluation.metrics.lip_sync import SyncJudge
from geneface.evaluation.metrics.lpips import Lpips
from geneface.evaluation.metrics.lse import SyncNetScorer
from geneface.evaluation.metrics.niqe import NiqeModel
from geneface.evaluation.networks.weights import FID_NEEDS_WEIGHTS, LPIPS_NEEDS_WEIGHTS, LSE_NEEDS_WEIGHTS
from geneface.io.atomic import sha256
from geneface.io.tensors import TensorFile

Instrument = TypeVar("Instrument")


@dataclass(frozen=True)
class MetricWeights:
    """Files of third-party weights, as `geneface convert-weights` writes them; None: not at hand."""

    lpips: Path | None = None
    inception: Path | None = None
    syncnet: Path | None = None


@dataclass(frozen=True)
class Tools:
    """Instruments, or reasons."""

    colour: Literal[True] | str
    niqe: NiqeModel | str
    lpips: Lpips | str
    inception: InceptionFeatures | str
    syncnet: SyncNetScorer | str
    judge: SyncJudge | str
    tracker: Literal[True] | str


def open_tools(weights: MetricWeights | None = None) -> Tools:
    """Open every instrument that can be had.

    Raises:
        InputError: weights were given and are damaged: that must not pass for "n/a".
    """
    weights = weights or MetricWeights()
    return Tools(
        colour=_or_reason(_colour),
        niqe=_or_reason(NiqeModel.load),
        lpips=_given(weights.lpips, LPIPS_NEEDS_WEIGHTS, Lpips.load),
        inception=_given(weights.inception, FID_NEEDS_WEIGHTS, InceptionFeatures.load),
        syncnet=_given(weights.syncnet, LSE_NEEDS_WEIGHTS, SyncNetScorer.load),
        judge=_or_reason(SyncJudge.load),
        tracker=True,
    )


def _given(path: Path | None, reason: str, load: Callable[[Path], Instrument]) -> Instrument | str:
    return reason if path is None else load(path)


def _or_reason(load: Callable[[], Instrument]) -> Instrument | str:
    try:
        return load()
    except MissingExtraError as error:
        return str(error)


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
