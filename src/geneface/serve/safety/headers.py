"""What every answer carries, so that a browser keeps to what the page needs."""

from __future__ import annotations

from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

PAGE_POLICY = "; ".join((
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "media-src 'self' blob:",
    "font-src 'self'",
    "connect-src 'self'",
    "worker-src 'self'",
    "manifest-src 'self'",
    "frame-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
))  # fmt: skip
"""Content-Security-Policy of pages: everything from this server, nothing inline."""
DATA_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""Of everything that is no page: shown by itself, it runs nothing."""
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self' data:; "
    "sandbox; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""For a route to set: a finished report with styles and pictures of its own, shown inside the page. It runs nothing."""

_ALWAYS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"microphone=(self), camera=(), geolocation=(), display-capture=(), usb=(), payment=()"),
    (b"x-robots-tag", b"noindex"),
]


def secured(headers: Iterable[tuple[bytes, bytes]], *, is_data: bool, is_kept: bool = False) -> Headers:
    """The headers of an answer with those that it must carry; never any that lets a foreign page in (CORS).

    Args:
        headers: of the route; a Content-Security-Policy or Cache-Control of its own stays.
        is_data: it comes from the API: no cache keeps it.
        is_kept: it says that what the browser keeps is still right (304), whose policy must stay the one it came with.
    """
    kept = [(name.lower(), value) for name, value in headers if not name.lower().startswith(b"access-control-")]
    names = {name for name, _ in kept}
    kept += [(name, value) for name, value in _ALWAYS if name not in names]
    if b"content-security-policy" not in names and not is_kept:
        # A script may run as a worker, whose policy is that of its own answer.
        is_page = dict(kept).get(b"content-type", b"").startswith((b"text/html", b"text/javascript"))
        kept.append((b"content-security-policy", (PAGE_POLICY if is_page else DATA_POLICY).encode()))
        kept.append((b"x-frame-options", b"DENY"))
    if b"cache-control" not in names:
        kept.append((b"cache-control", b"no-store" if is_data else b"no-cache"))
    return kept
