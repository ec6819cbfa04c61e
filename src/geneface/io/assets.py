"""What the package ships."""

from __future__ import annotations

from pathlib import Path

from geneface.errors import InputError

_ASSETS = Path(__file__).resolve().parent.parent / "assets"


def asset_path(*parts: str) -> Path:
    """Path of a file or folder that ships inside the package.

    Raises:
        InputError: the installed package lacks it.
    """
    path = _ASSETS.joinpath(*parts)
    if not path.exists():
        name = "/".join(parts)
        raise InputError(f"the bundled file {name} is missing from {_ASSETS}", "reinstall geneface")
    return path
