from __future__ import annotations

from pathlib import Path

import pytest

from geneface.avatar.avatar import Avatar

from .avatar_fixtures import make_avatar


@pytest.fixture(scope="session")
def avatar_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny avatar on disk: read only."""
    return make_avatar(tmp_path_factory.mktemp("avatars") / "tiny", tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="session")
def avatar(avatar_folder: Path) -> Avatar:
    return Avatar.load(avatar_folder)


@pytest.fixture(scope="session")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> Avatar:
    """A tiny avatar with the shipped speech encoder."""
    folder = tmp_path_factory.mktemp("hearing")
    return Avatar.load(make_avatar(folder / "tiny", folder / "work", "whisper-2-streaming", 512))
