"""Tests that start servers, browsers or processes take seconds each: all of a folder of them is slow."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
SLOW = [
    HERE / name for name in ("jobs", "live", "page", "routes", "safety/test_attacks.py", "safety/test_foreign_page.py")
]
QUICK = {"test_packets.py", "test_progress.py", "test_sender.py", "test_store.py", "test_streams.py", "test_strings.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name not in QUICK and any(place in (item.path, *item.path.parents) for place in SLOW):
            item.add_marker(pytest.mark.slow)
