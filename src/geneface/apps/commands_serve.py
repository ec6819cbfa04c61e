"""serve: the page and the API."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geneface.apps import process
from geneface.apps.errors import STOPPED

if TYPE_CHECKING:
    from geneface.serve.context import Context

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
    voice_model: Annotated[str | None, typer.Option(help="Which of that server's models.")] = None,
    chat: Annotated[
        str | None, typer.Option(metavar="URL", help="A chat model that answers: any server with OpenAI's routes.")
    ] = None,
    chat_model: Annotated[str | None, typer.Option(help="Which of its models.")] = None,
    chat_prompt: Annotated[str | None, typer.Option(help="How it is told to behave.")] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="URL", help="A server that writes down speech, with OpenAI's routes.")
    ] = None,
    listen_model: Annotated[str | None, typer.Option(help="Which of its models.")] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name, of a proxy say, that the server also answers to; with a token."),
    ] = None,
    proxy: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of a proxy that is believed for whom it asks.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="PEM: HTTPS without a proxy, so that others can use their microphones.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Its key, where that is not in the same file.")] = None,
    stun: Annotated[
        list[str] | None,
        typer.Option(metavar="stun:HOST:PORT", help="Asked for this machine's public address, for WebRTC."),
    ] = None,
    encoder_path: Annotated[
        list[Path] | None,
        typer.Option(
            envvar="GENEFACE_ENCODER_PATH",
            show_envvar=True,
            help="Weights of avatars' speech encoders, where these are not shipped (docs/encoders.md).",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Threads that draw.", min=1, max=64)] = 2,
    log: Annotated[bool, typer.Option("--log", help="A line for each request, without what was said in it.")] = False,
) -> None:
    """Open a page and an API, on this machine alone by default."""
    from geneface.analysis.encoder_weights import ENCODER_VARIABLE
    from geneface.serve.app import create_app
    from geneface.serve.server import address, completed
    from geneface.serve.server import serve as run
    from geneface.serve.settings import ServeSettings

    if encoder_path:
        # Jobs are processes of their own, which inherit it.
        os.environ[ENCODER_VARIABLE] = os.pathsep.join(str(path.absolute()) for path in encoder_path)
    given = {
        "home": home and home.expanduser().absolute(),
        "token": token,
        "chat_model": chat_model,
        "listen_model": listen_model,
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
            voice_model=voice_model,
            chat_url=chat,
            listen_url=listen,
            allowed_hosts=tuple(allow_host or ()),
            proxy=proxy,
            certificate=certificate,
            key=key,
            stun=tuple(stun or ()),
            workers=workers,
            **{name: value for name, value in given.items() if value is not None},
        )
    )
    app = create_app(settings)
    offered = _offered(app.state.context)

    def announce(real_port: int) -> None:
        # One that was given is known already.
        is_new = settings.token is not None and settings.token != token
        place = address(settings, real_port, with_token=is_new)
        print("\n".join([place, *offered, "Ctrl-C ends it; jobs are kept."]), flush=True)

    ended_by = run(app, settings, announce, _leave_at_once, is_logging=log)
    if ended_by is not None:
        # All is cleaned up. The interpreter's own end frees memory piece by piece, which takes long on a busy machine.
        _leave_at_once(ended_by)
    process.say("geneface: the server ended")


def _leave_at_once(number: int) -> None:
    """Nothing that is slow to end keeps the process: what matters is on the disk."""
    process.say(STOPPED)
    os._exit(128 + number)


def _offered(context: Context) -> list[str]:
    """What there is, to print. All of it is loaded once, so that what is wrong is said now; the bundled avatar last, so
    that it stays in memory."""
    avatars = context.avatars.list()
    for avatar in reversed(avatars):
        if not avatar.is_own:
            context.avatars.load(avatar.id)
    voice = context.voices.get()
    language = f" ({voice.language})" if voice.language else ""
    return [f"avatars: {', '.join(avatar.id for avatar in avatars)}", f"voice: {voice.name}{language}"]
