"""`geneface bench`: it runs, prints JSON, and its figures hang together. How fast it is, is not tested."""

from __future__ import annotations

import json

import pytest

from .conftest import Run


@pytest.mark.slow
@pytest.mark.parametrize(
    "what, renderer", [("render", "nerf"), ("motion", "nerf"), ("train", "nerf"), ("train", "gaussian")]
)
def test_bench_prints_json(run: Run, what: str, renderer: str) -> None:
    if what == "train":
        pytest.importorskip("torch", reason="needs the [train] extra")
    outcome = run("bench", what, "--renderer", renderer, "--quick", "--repeats", "1", "--size", "64", "--json")
    assert outcome.code == 0, outcome.err
    figures = json.loads(outcome.out)
    assert figures["benchmark"] == what and figures["machine"]["sgemm_gflops"] > 0
    ours = figures["ours"]
    assert 0 < ours["fastest_ms"] <= ours["median_ms"] <= ours["slowest_ms"]
    if what == "train":
        assert figures["pytorch_eager"]["times_slower"] == pytest.approx(
            figures["pytorch_eager"]["median_ms"] / ours["median_ms"]
        )
    if what == "train" and renderer == "nerf":
        assert 0 < figures["samples_per_ray"] <= 32
        network = figures["network"]
        assert network["share_of_peak"] > 0 and network["threads"] == 1
    if what == "render":
        assert ours["megapixels_per_second"] == pytest.approx(ours["frames_per_second"] * 64**2 / 1e6)


def test_unknown_benchmarks_are_refused(run: Run) -> None:
    run("bench", "cooking", "--quick", "--repeats", "1").refused("cooking", "render")
    run("bench", "train", "--renderer", "voxel", "--quick", "--repeats", "1").refused("voxel")
    run("bench", "train", "--preset", "fastest", "--quick", "--repeats", "1").refused("fastest", "good")
