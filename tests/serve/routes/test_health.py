"""GET /health and GET /metrics."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from geneface import __version__
from geneface.serve.app import create_app
from geneface.serve.metrics import KINDS, Metrics
from geneface.serve.settings import ServeSettings


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return TestClient(create_app(ServeSettings(home=tmp_path)), base_url="http://127.0.0.1:8000")


def test_ready(client: TestClient) -> None:
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "version": __version__, "reasons": []}


def test_why_not(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "not_ready"
    assert answer.json()["reasons"] == ["the disk is full"]


def test_what_is_counted_is_told(client: TestClient) -> None:
    metrics: Metrics = client.app.state.context.metrics  # type: ignore[attr-defined]
    metrics.count("frames", 3)
    metrics.count("refused", code='odd "code"\n')
    for seconds in (0.001, 0.005, 0.3, 99.0):
        metrics.observe("lateness_seconds", seconds)
    metrics.watch("queued_jobs", lambda: 7)
    metrics.watch("jobs", lambda: {"queued": 7, "failed": 1})
    lines = client.get("/metrics").text.splitlines()
    for line in (
        "geneface_frames_total 3",
        r'geneface_refused_total{code="odd \"code\"\n"} 1',
        "geneface_queued_jobs 7",
        'geneface_jobs{state="failed"} 1',
        'geneface_lateness_seconds_bucket{le="0.005"} 2',
        'geneface_lateness_seconds_bucket{le="0.3"} 3',
        'geneface_lateness_seconds_bucket{le="+Inf"} 4',
        "geneface_lateness_seconds_count 4",
    ):
        assert line in lines, line


@pytest.mark.parametrize("call", [("count", "nothing"), ("observe", "frames", 1.0), ("watch", "frames", lambda: 1)])
def test_a_name_that_nobody_explained_is_an_error(call: tuple[Any, ...]) -> None:
    method, *arguments = call
    with pytest.raises(KeyError):
        getattr(Metrics(), method)(*arguments)
    assert all(kind.help.endswith(".") for kind in KINDS.values())
