from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ..serving import Served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for this machine alone."""
    from ..serving import serving
    from .probe import make_app, small_settings

    settings = small_settings(tmp_path_factory.mktemp("home"))
    with serving(make_app(settings), settings) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One that needs its token."""
    from ..serving import serving
    from .probe import TOKEN, make_app, small_settings

    settings = small_settings(tmp_path_factory.mktemp("home"), token=TOKEN)
    with serving(make_app(settings), settings) as server:
        yield server
