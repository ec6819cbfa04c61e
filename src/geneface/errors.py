"""The one exception that a user may see. Its text is one sentence: cause, where, remedy."""

from __future__ import annotations


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
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs the package {package}, which is not installed",
            f"install it with: pip install 'geneface[{extra}]'",
        )
