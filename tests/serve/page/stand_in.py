"""The API as docs/serve.md describes it, answered inside the browser by Playwright: no jobs, no models.

What tests change or ask about are attributes: `avatars`, `videos`, `uploads`, `requests`, `failures`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Page, Request, Route

from geneface.io.assets import asset_path
from geneface.serve.avatars import BUNDLED

FINDINGS = [
    {"severity": "warning", "start": 0.0, "end": 4.2, "cause": "no face is seen", "remedy": "cut it off", "is_used": False},
    {"severity": "warning", "start": 31.5, "end": 33.0, "cause": "a hand is before the mouth", "remedy": "keep hands down",
     "is_used": False},
    {"severity": "warning", "start": 50.0, "end": 56.0, "cause": "the picture is dark", "remedy": "more light from the front",
     "is_used": True},
    {"severity": "info", "start": 40.0, "end": 40.0, "cause": "a cut: prepare splits the video here", "remedy": ""},
    {"severity": "info", "start": None, "end": None, "cause": "the face is 214 pixels wide", "remedy": ""},
]  # fmt: skip
STEPS = ("check", "prepare", "train")
PLAYER = """
/** What the page needs of a player, without a stream. */
export class LivePlayer extends EventTarget {
  constructor(options) { super(); Object.assign(this, options); this.stats = {}; this.told = []; window.players = [...(window.players ?? []), this]; }
  emit(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }
  async connect() {
    const picture = new Image();
    picture.src = new URL("v1/avatars/grid-s1/poster", document.baseURI);
    await picture.decode();
    this.canvas.width = picture.width; this.canvas.height = picture.height;
    this.canvas.getContext("2d").drawImage(picture, 0, 0);
    this.emit("state", { state: "live", reason: null, sound: "on" });
    this.stats = { latency_ms: 84, frames_per_second: 25 };
    this.emit("stats", this.stats);
  }
  async say(text) {
    if (text.startsWith("refuse")) throw Object.assign(new Error("the voice can't say that"), { code: "bad_input", remedy: "write words" });
    this.told.push(["say", text]); this.emit("speech.start", { utterance: "u" });
  }
  async chat(text) { this.told.push(["chat", text]); this.emit("transcript", { role: "user", text, id: "a" }); this.emit("transcript", { role: "assistant", text: "I hear you.", id: "b" }); }
  interrupt() { this.told.push(["interrupt"]); }
  async setBackground(value) { this.told.push(["background", value]); }
  async sendMicrophone(on) { this.told.push(["microphone", on]); }
  close() { this.told.push(["close"]); this.isClosed = true; }
}
"""


class StandIn:
    """Install it with `answer(page)`; `server` is what `GET /v1/server` says."""

    def __init__(self, *, video: bytes = b"", player: str | None = PLAYER) -> None:
        self.server: dict[str, Any] = {
            "version": "0.1.0",
            "voices": [{"id": "heart", "name": "heart", "language": "en-us", "is_default": True}],
            "voice": "heart",
            "chat": False,
            "listen": False,
            "limits": {"upload_bytes": 2 * 1024**3, "speech_seconds": 600.0, "text": 20_000},
        }
        self.avatars: dict[str, dict[str, Any]] = {BUNDLED: bundled()}
        self.videos: list[dict[str, Any]] = []
        self.uploads: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, Any]] = []
        """Method, path, JSON or None of all that reached the API."""
        self.failures: list[tuple[str, str, int, dict[str, str]]] = []
        """(method, start of the path, status, error): the next such request fails so."""
        self.dropped: list[str] = []
        """Methods and starts of paths; the next such request finds no server."""
        self.findings = list(FINDINGS)
        self.report: dict[str, Any] | None = None
        self.passes: set[str] = set()
        """Paths that the real server answers."""
        self.is_patient = False
        """Jobs stay in progress."""
        self._video, self._player = video, player
        self._routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", r"server", lambda: self.server),
            ("POST", r"session", lambda: None),
            ("POST", r"live", lambda: {"id": "live_1", "width": 256, "height": 256}),
            ("DELETE", r"live/.*", lambda: None),
            ("GET", r"avatars", lambda: {"data": list(self.avatars.values())}),
            ("POST", r"avatars", self._make),
            ("POST", r"avatars/check", lambda: self._check("queued")),
            ("GET", r"avatars/check/check_1", lambda: self._check("in_progress" if self.is_patient else "completed")),
            ("POST", r"avatars/import", self._import),
            ("GET", r"avatars/([\w-]+)", self._avatar),
            ("DELETE", r"avatars/([\w-]+)", self._forget),
            ("POST", r"avatars/([\w-]+)/retry", self._retry),
            ("POST", r"avatars/([\w-]+)/report", self._measure),
            ("GET", r"avatars/([\w-]+)/report", lambda _: self.report or 404),
            ("GET", r"videos", lambda: {"data": self.videos}),
            ("POST", r"videos", self._render),
            ("GET", r"videos/([\w-]+)", self._progressed),
            ("DELETE", r"videos/([\w-]+)", self._delete_video),
            ("POST", r"uploads", self._upload),
            ("GET", r"uploads/([\w-]+)", self._shown_upload),
            ("PATCH", r"uploads/([\w-]+)", self._piece),
            ("DELETE", r"uploads/([\w-]+)", lambda id: self.uploads.pop(id, None) and None),
        ]
        self._request: Request | None = None

    def answer(self, page: Page) -> None:
        """Answer all requests of `page` to the API."""
        page.route(re.compile(r"/v1/"), self._handle)
        if self._player is not None:
            page.route("**/page/player/player.js", lambda route: route.fulfill(
                body=self._player, content_type="text/javascript"))  # fmt: skip

    def _handle(self, route: Route, request: Request) -> None:
        path = urlsplit(request.url).path.partition("/v1/")[2]
        if path in self.passes:
            route.continue_()
            return
        self._request = request
        is_json = (request.headers.get("content-type") or "").startswith("application/json")
        body = json.loads(request.post_data or "null") if is_json else None
        self.requests.append((request.method, path, body))
        mark = f"{request.method} {path}"
        for start in self.dropped:
            if mark.startswith(start):
                self.dropped.remove(start)
                route.abort("connectionreset")
                return
        for failure in self.failures:
            if mark.startswith(f"{failure[0]} {failure[1]}"):
                self.failures.remove(failure)
                route.fulfill(status=failure[2], json={"error": failure[3]})
                return
        if path.endswith(("/poster", "/preview")):
            poster = asset_path("avatars", BUNDLED) / "poster.png"
            route.fulfill(body=poster.read_bytes(), content_type="image/png")
            return
        if path.endswith("/content"):
            route.fulfill(body=self._video, content_type="video/mp4", headers={"Accept-Ranges": "bytes"})
            return
        if path.endswith("/report.html"):
            route.fulfill(body="<!doctype html><title>r</title><h1>Report</h1>", content_type="text/html")
            return
        for method, pattern, act in self._routes:
            found = re.fullmatch(pattern, path)
            if method == request.method and found:
                told = act(*found.groups())
                if told == 404:
                    error = {"code": "not_found", "message": "there is nothing of this name", "remedy": "look again"}
                    route.fulfill(status=404, json={"error": error})
                elif told is None:
                    route.fulfill(status=204)
                else:
                    route.fulfill(json=told)
                return
        raise AssertionError(f"the page asked for {mark}, which the API does not have")

    def _json(self) -> Any:
        assert self._request is not None
        return json.loads(self._request.post_data or "null")

    def _check(self, status: str) -> dict[str, Any]:
        found = {"id": "check_1", "status": status, "progress": 40, "eta_seconds": 12.0, "error": None}
        if status == "completed":
            usable = not any(finding["severity"] == "error" for finding in self.findings)
            found |= {"seconds": 75.0, "is_usable": usable, "preview": True, "findings": self.findings}
        return found

    def _make(self) -> dict[str, Any]:
        asked = self._json()
        avatar = {
            **bundled(), "id": "av_1", "name": asked["name"], "is_own": True, "status": "queued",
            "consent": asked["consent"], "licence": asked["licence"], "preview": None, "turn": 0,
        }  # fmt: skip
        self.avatars["av_1"] = avatar
        return self._avatar("av_1")

    def _import(self) -> dict[str, Any]:
        self.avatars["av_2"] = {**bundled(), "id": "av_2", "name": "Ada", "is_own": True}
        return {"id": "av_2", "status": "queued"}

    def _avatar(self, avatar_id: str) -> Any:
        avatar = self.avatars.get(avatar_id)
        if avatar is None:
            return 404
        if "turn" in avatar:
            turn = avatar["turn"]
            if not self.is_patient or turn < 2:
                avatar["turn"] = turn + 1
            avatar["steps"] = [
                {"name": name, "status": "completed" if i + 1 < turn else "in_progress" if i + 1 == turn else "pending",
                 "progress": 1.0 if i + 1 < turn else 0.45 if i + 1 == turn else 0.0, "eta_seconds": 84.0}
                for i, name in enumerate(STEPS)
            ]  # fmt: skip
            avatar["status"] = "queued" if turn == 0 else "completed" if turn > len(STEPS) else "in_progress"
            avatar["eta_seconds"] = 128.0
            avatar["preview"] = "there" if turn > 1 else None
        return avatar

    def _forget(self, avatar_id: str) -> Any:
        return {"deleted": True} if self.avatars.pop(avatar_id, None) else 404

    def _retry(self, avatar_id: str) -> Any:
        self.avatars[avatar_id] |= {"status": "queued", "error": None, "turn": 0}
        return self._avatar(avatar_id)

    def _measure(self, avatar_id: str) -> dict[str, Any]:
        self.avatars[avatar_id]["has_report"] = True
        metrics = json.loads((asset_path("avatars", BUNDLED) / "metrics.json").read_text(encoding="utf-8"))
        self.report = {"status": "completed", "progress": 100, "metrics": metrics}
        return {"status": "queued", "progress": 0}

    def _render(self) -> dict[str, Any]:
        assert self._request is not None
        raw = self._request.post_data_buffer or b""
        told = dict(re.findall(rb'name="(\w+)"\r\n\r\n(.*?)\r\n--', raw, re.DOTALL))
        if not told:
            told = {name.encode(): str(value).encode() for name, value in self._json().items()}
        self.requests[-1] = (*self.requests[-1][:2], {name.decode(): value.decode() for name, value in told.items()})
        job = {
            "id": f"video_{len(self.videos) + 1}", "object": "video", "model": told[b"model"].decode(), "status": "queued",
            "progress": 0, "created_at": 1_795_000_000, "size": "256x256", "seconds": "2.4",
            "prompt": told.get(b"prompt", b"").decode() or None, "format": told.get(b"format", b"mp4").decode(), "error": None,
        }  # fmt: skip
        self.videos.insert(0, job)
        return job

    def _progressed(self, video_id: str) -> Any:
        job = next((job for job in self.videos if job["id"] == video_id), None)
        if job is None:
            return 404
        is_begun = job["status"] != "queued"
        job |= {"status": "completed", "progress": 100} if is_begun and not self.is_patient else {
            "status": "in_progress", "progress": 40, "eta_seconds": 3.0}  # fmt: skip
        return job

    def _delete_video(self, video_id: str) -> Any:
        self.videos = [job for job in self.videos if job["id"] != video_id]
        return {"deleted": True}

    def _upload(self) -> dict[str, Any]:
        asked = self._json()
        made = {
            "id": f"up_{len(self.uploads) + 1}",
            "bytes": asked["bytes"],
            "name": asked["name"],
            "offset": 0,
            "received": b"",
        }
        self.uploads[made["id"]] = made
        return self._shown_upload(made["id"])

    def _shown_upload(self, upload_id: str) -> Any:
        upload = self.uploads.get(upload_id)
        return 404 if upload is None else {name: upload[name] for name in ("id", "bytes", "name", "offset")}

    def _piece(self, upload_id: str) -> Any:
        assert self._request is not None
        upload = self.uploads[upload_id]
        assert int(self._request.headers["upload-offset"]) == upload["offset"]
        upload["received"] += self._request.post_data_buffer or b""
        upload["offset"] = len(upload["received"])
        return self._shown_upload(upload_id)


def unfinished(**values: Any) -> dict[str, Any]:
    """An avatar that is not ready, as the API shows it while it is queued."""
    waits = {"name": "Ada", "status": "queued", "is_own": True, "bytes": 0, "poster": None, "consent": "I agree. — Ada",
             "progress": 0, "steps": [], "queue_position": 0}  # fmt: skip
    return bundled() | waits | values


def bundled() -> dict[str, Any]:
    """The avatar that comes with the package, as `GET /v1/avatars` shows it."""
    config = json.loads((asset_path("avatars", BUNDLED) / "config.json").read_text(encoding="utf-8"))
    return {
        "id": BUNDLED, "object": "avatar", "name": BUNDLED, "status": "completed", "is_own": False, "size": 256,
        "has_body": False, "created_at": 1_795_000_000, "bytes": 6_200_000, "renderer": "gaussian",
        "licence": config["licence"], "attribution": config["attribution"], "consent": config["consent"],
        "poster": f"/v1/avatars/{BUNDLED}/poster", "preview": None, "error": None, "has_report": False,
    }  # fmt: skip
