"""Work that takes longer than a request: videos, avatars, reports."""
