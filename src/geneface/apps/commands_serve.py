"""serve: the page and the API."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geneface.apps import process

if TYPE_CHECKING:
    from geneface.serve.settings import ServeSettings

_EXAMPLE = (
    "Example: geneface serve me --chat http://127.0.0.1:11434/v1 --chat-model llama3.2. "
    "docs/serve.md describes the API, and how to put it behind a proxy with TLS."
)


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(epilog=_EXAMPLE)(serve)


def serve(
    avatars: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[AVATAR_FOLDER...]", help="Avatars to offer besides the bundled one."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where to listen. Any other than this machine needs a token; 0.0.0.0 is everywhere.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65_535)] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="GENEFACE_TOKEN", show_envvar=True, help="What others must show; by default made and printed."
        ),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(help="Folder of avatars and jobs; by default ~/.local/share/geneface.", show_default=False),
    ] = None,
    voice: Annotated[str | None, typer.Option(help="The voice of texts; by default that of hibari-tts.")] = None,
    voice_folder: Annotated[Path | None, typer.Option(help="A Kokoro model and its voices (docs/text.md).")] = None,
    voice_url: Annotated[
        str | None, typer.Option(metavar="URL", help="A server with OpenAI's route /v1/audio/speech, as the voice.")
    ] = None,
    chat: Annotated[
        str | None, typer.Option(metavar="URL", help="A chat model that answers: any server with OpenAI's routes.")
    ] = None,
    chat_model: Annotated[str | None, typer.Option(help="Which of its models.")] = None,
    chat_prompt: Annotated[str | None, typer.Option(help="How it is told to behave.")] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="URL", help="A server that writes down speech, with OpenAI's routes.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name, of a proxy say, that the server also answers to; with a token."),
    ] = None,
    proxy: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of a proxy that is believed for whom it asks.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Threads that draw.", min=1, max=64)] = 2,
    log: Annotated[bool, typer.Option("--log", help="A line for each request, without what was said in it.")] = False,
) -> None:
    """Open a page and an API, on this machine alone by default."""
    from geneface.serve.server import address, completed
    from geneface.serve.server import serve as run
    from geneface.serve.settings import ServeSettings

    given = {
        "home": home and home.expanduser().absolute(),
        "token": token,
        "chat_model": chat_model,
        "chat_prompt": chat_prompt,
    }
    settings = completed(
        ServeSettings(
            host=host,
            port=port,
            avatars=tuple(avatars or ()),
            voice=voice,
            voice_folder=voice_folder,
            voice_url=voice_url,
            chat_url=chat,
            listen_url=listen,
            allowed_hosts=tuple(allow_host or ()),
            proxy=proxy,
            workers=workers,
            **{name: value for name, value in given.items() if value is not None},
        )
    )
    names = _offered(settings)

    def announce(real_port: int) -> None:
        print("\n".join([address(settings, real_port), *names, "Ctrl-C ends it; jobs are kept."]), flush=True)

    ended_by = run(settings, announce, is_logging=log)
    if ended_by is not None:
        signal.raise_signal(ended_by)
    process.say("geneface: the server ended")


def _offered(settings: ServeSettings) -> list[str]:
    """What there is, to print."""
    from geneface.serve.avatars import AvatarStore
    from geneface.voice.registry import VoiceChoice

    choice = VoiceChoice(settings.voice, settings.voice_folder, settings.voice_url)
    opened = choice.open()
    language = f" ({opened.language})" if opened.language else ""
    found = AvatarStore(settings.home, settings.avatars).list()
    return [f"avatars: {', '.join(avatar.id for avatar in found)}", f"voice: {opened.name}{language}"]
