"""Names of files that jobs and routes share, and what videos are given out as."""

from __future__ import annotations

MEDIA_TYPES = {
    "mp4": ("video/mp4", ".mp4"),
    "webm-alpha": ("video/webm", ".webm"),
    "png": ("application/zip", ".zip"),
    "landmarks": ("application/octet-stream", ".safetensors"),
}
"""Format of a video -> media type and suffix."""
SPEECH, BACKGROUND, VIDEO, ARCHIVE = "speech", "background.png", "video", "avatar.zip"
"""What clients give, in the folder `in` of a job."""
CHECK_FILE, PREVIEW_FILE = "check.json", "preview.jpg"
"""What a check leaves in the folder `out`."""
REPORT_FILE, METRICS_FILE = "report.html", "metrics.json"
"""An evaluation."""
