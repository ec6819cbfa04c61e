"""The one exception that a user may see. Its text is one sentence: cause, where, remedy."""

from __future__ import annotations

import re


class InputError(Exception):
    """Bad usage or bad input: the command line prints it without a traceback and exits with status 2.

    Args:
        cause: what is wrong, naming the file or the option.
        remedy: what the user can do about it.
        where: the place inside the file ("at 3.20 s", "line 7"), if there is one.
    """

    def __init__(self, cause: str, remedy: str, where: str = "") -> None:
        self.cause, self.where, self.remedy = cause, where, remedy
        super().__init__(f"{cause}{' ' + where if where else ''}: {remedy}")

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        # An exception is pickled by its text alone; worker processes must hand over all of it.
        return InputError, (self.cause, self.remedy, self.where)


class MissingExtraError(InputError):
    """An optional dependency is not installed, or is and can't be loaded.

    Args:
        package: its name.
        extra: which of this package's extras brings it.
        error: what its import raised, if that may have another reason than that it is not there.
    """

    def __init__(self, package: str, extra: str, error: ImportError | None = None) -> None:
        found = None if error is None else self.library(error)
        if found is not None:
            super().__init__(found.cause, found.remedy)
        elif error is not None and not isinstance(error, ModuleNotFoundError):
            super().__init__(f"the package {package} can't be loaded ({_line(error)})", "install it again")
        else:
            missing = getattr(error, "name", None) or package
            super().__init__(
                f"this needs the package {missing.split('.')[0]}, which is not installed",
                f"install it, in the project's folder, with: pip install '.[{extra}]'",
            )

    @staticmethod
    def library(error: BaseException) -> InputError | None:
        """The shared library of the system that an import lacked, or None if that is not what went wrong."""
        found = _LIBRARY.search(str(error))
        if found is None:
            return None
        name = found[1] or found[2]
        start = next((package for stem, package in _DEBIAN.items() if name.startswith(stem)), None)
        remedy = f"install it (Debian, Ubuntu: apt install {start})" if start else "install the package that brings it"
        return InputError(f"the system library {name} is missing or can't be loaded", remedy)


_LIBRARY = re.compile(
    r"(lib[\w+.-]+?\.(?:so[.\d]*|dylib)): cannot open shared|(?:cannot|could not) load library '([^']+)'", re.IGNORECASE
)
"""What the dynamic loader of Linux says, and what cffi says."""
_DEBIAN = {
    "libgomp": "libgomp1",
    "libsndfile": "libsndfile1",
    "libstdc++": "libstdc++6",
}
"""Start of a library's name -> Debian's package of it."""


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
