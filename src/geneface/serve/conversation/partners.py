"""Who answers on a server: the chat model and the transcriber that its operator named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geneface.serve.conversation.chat import Chat
from geneface.serve.conversation.conversation import Conversation, Face
from geneface.serve.conversation.listen import Transcriber
from geneface.serve.settings import ServeSettings
from geneface.voice.voice import Voice


class Partners:
    """The chat model and the transcriber of a server. They belong to its event loop.

    Raises:
        InputError: an address that is none.
    """

    def __init__(self, settings: ServeSettings) -> None:
        chat, listen = settings.chat_url, settings.listen_url
        self._chat = None if chat is None else Chat(chat, settings.chat_model)
        self._transcriber = None if listen is None else Transcriber(listen, settings.listen_model)
        self._prompt = settings.chat_prompt

    @property
    def has_chat(self) -> bool:
        """What is typed is answered."""
        return self._chat is not None

    @property
    def has_transcriber(self) -> bool:
        """What is said is understood."""
        return self._transcriber is not None

    def begin(self, face: Face, voice: Voice | None, tell: Callable[[dict[str, Any]], None]) -> Conversation | None:
        """A conversation with a live face; see `Conversation`. None where there is no chat model, or no voice."""
        if self._chat is None or voice is None:
            return None
        return Conversation(face, voice, self._chat, self._transcriber, tell, prompt=self._prompt)

    async def close(self) -> None:
        """Let go of connections."""
        for partner in (self._chat, self._transcriber):
            if partner is not None:
                await partner.close()
