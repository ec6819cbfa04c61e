"""One live face."""


class Session:
    """Lands in the next commit; its interface is in the brief."""
