"""What this server offers, so that the page shows what there is and nothing else."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from geneface import __version__
from geneface.errors import InputError
from geneface.serve.context import Context, context_of
from geneface.serve.routes.speech import VoiceEntry, described

router = APIRouter(prefix="/v1", tags=["server"])


@router.get("/server")
def server(context: Annotated[Context, Depends(context_of)]) -> dict[str, Any]:
    """Version, voices, whether there is a conversation, and limits."""
    settings = context.settings
    voices = _voices(context)
    return {
        "object": "server",
        "version": __version__,
        "voices": voices,
        "voice": next((voice.id for voice in voices if voice.is_default), None),
        "chat": settings.chat_url is not None,
        "listen": settings.listen_url is not None,
        "limits": {
            "upload_bytes": settings.most_upload_bytes,
            "speech_seconds": settings.most_speech_seconds,
            "text": settings.most_text,
        },
    }


def _voices(context: Context) -> list[VoiceEntry]:
    """Those that can be asked for, the default first; none where no engine is installed."""
    try:
        return described(context)
    except InputError:
        return []
