"""An application with routes that a test can push against. It needs the extra [web]; `conftest` does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.websockets import WebSocketDisconnect

from geneface.serve.app import create_app
from geneface.serve.settings import ServeSettings

TOKEN = "a-token-of-the-tests"


def probe_routes() -> APIRouter:
    """Routes that do what ours do, at once: take a body, take an upload, echo messages, fail, send much."""
    router = APIRouter(prefix="/v1")

    @router.post("/probe")
    async def take(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @router.put("/uploads/probe/data")
    async def upload(request: Request) -> dict[str, int]:
        size = 0
        async for piece in request.stream():
            size += len(piece)
        return {"bytes": size}

    @router.post("/typed")
    async def typed(body: dict[str, Any]) -> dict[str, Any]:
        return body

    @router.get("/fail")
    async def fail(text: str = "") -> None:
        raise RuntimeError(f"cannot say {text}")

    @router.get("/much")
    async def much() -> StreamingResponse:
        return StreamingResponse((bytes(65_536) for _ in range(4096)), media_type="application/octet-stream")

    @router.get("/lax")
    async def lax() -> PlainTextResponse:
        return PlainTextResponse("lax", headers={"Access-Control-Allow-Origin": "*"})

    @router.websocket("/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                data = message.get("bytes") or (message.get("text") or "").encode()
                await socket.send_bytes(data[:16])
        except WebSocketDisconnect:
            pass

    return router


def make_app(settings: ServeSettings) -> FastAPI:
    app = create_app(settings)
    app.include_router(probe_routes())
    return app


def small_settings(home: Path, **changes: Any) -> ServeSettings:
    """Limits that a test reaches at once."""
    limits = {
        "most_body_bytes": 100_000,
        "most_upload_bytes": 1_000_000,
        "most_requests_a_minute": 100_000,
        "most_connections": 50,
        "most_message_bytes": 65_536,
        "slow_seconds": 0.5,
        "least_bytes_a_second": 1_000_000,
    }
    return ServeSettings(home=home, **{**limits, **changes})
