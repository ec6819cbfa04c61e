"""demo, render, batch: an avatar speaks."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from geneface.apps import process
from geneface.apps.causes import EXIT_FAULT
from geneface.apps.options import (
    AvatarArgument,
    BodyOption,
    EncoderPathOption,
    FrameOption,
    JsonOption,
    SeedOption,
    StyleOption,
    parse_size,
    print_json,
)
from geneface.apps.progress import progress_bars
from geneface.errors import InputError

if TYPE_CHECKING:
    from geneface.avatar.outputs import Format
    from geneface.voice.registry import VoiceChoice

BUNDLED_AVATAR = "grid-s1"
_EXAMPLE_DEMO = "Example: geneface demo -o demo.mp4"
_EXAMPLE_RENDER = "Example: geneface render grid-s1 --audio speech.wav -o talking.mp4 --style lively"
_EXAMPLE_BATCH = (
    "Example: geneface batch jobs.csv -o videos. The first line of jobs.csv names its columns: avatar, audio or text "
    "(or both: each line has one of them), and if you like voice, out, format, size, frame, body, background, seed, "
    "temperature, mouth_gain, blink, style. Paths in it are relative to its own folder; commas, semicolons or tabs "
    "separate."
)
VoiceFolderOption = Annotated[
    Path | None,
    typer.Option(help="Kokoro model and voices for text: docs/text.md says what is in it.", show_default=False),
]
VoiceUrlOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Server that speaks the text, with OpenAI's route /v1/audio/speech.",
        show_default=False,
    ),
]
VoiceOption = Annotated[str | None, typer.Option(help="Voice for text, by its name.", show_default="heart")]
LangOption = Annotated[str | None, typer.Option(help="Language of text, with --voice-folder; by default the voice's.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog=_EXAMPLE_DEMO)(demo)
    app.command(epilog=_EXAMPLE_RENDER)(render)
    app.command(epilog=_EXAMPLE_BATCH)(batch)


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="The MP4 file to write.")] = Path("demo.mp4"),
    json: JsonOption = False,
) -> None:
    """Render the bundled avatar with the bundled sentence."""
    from geneface.avatar.avatar import Avatar
    from geneface.io.assets import asset_path

    _format("mp4", out)
    with progress_bars(not json) as progress:
        started = time.perf_counter()
        avatar = Avatar.load(BUNDLED_AVATAR)
        frames = avatar.render(asset_path("speech", "demo.flac"), out, progress=progress)
    _say(out, frames, time.perf_counter() - started, json)


def render(
    avatar: AvatarArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="What to write: a file, or a folder for png.")],
    audio: Annotated[Path | None, typer.Option(help="Speech: any audio or video file.")] = None,
    text: Annotated[
        str | None, typer.Option(help="Text to speak instead, in the voice's language; needs the extra [tts].")
    ] = None,
    voice: VoiceOption = None,
    voice_folder: VoiceFolderOption = None,
    voice_url: VoiceUrlOption = None,
    lang: LangOption = None,
    format: Annotated[
        Literal["mp4", "webm-alpha", "png", "landmarks"] | None,
        typer.Option(help="By default what the name of OUT says.", show_default=False),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="N|source",
            help="Pixels of the shorter side, an even number from 64 to 1024; by default the avatar's own, which was "
            "chosen at `prepare --size`. source: the person's own video as it was recorded.",
        ),
    ] = None,
    frame: FrameOption = None,
    body: BodyOption = "auto",
    background: Annotated[str, typer.Option(help="keep, a colour (#00b140, white) or a PNG or JPEG file.")] = "keep",
    seed: SeedOption = 0,
    temperature: Annotated[float, typer.Option(help="0 to 3: 0 is the mean motion, 1 varies as in training.")] = 0.0,
    mouth_gain: Annotated[float, typer.Option(help="Amplitude of the mouth, 0 to 3 times.")] = 1.0,
    blink: Annotated[
        Literal["auto", "off"], typer.Option(help="Whether a drawn avatar blinks; in their own video people blink.")
    ] = "auto",
    style: StyleOption = "neutral",
    encoder_path: EncoderPathOption = None,
    json: JsonOption = False,
) -> None:
    """Make an avatar speak a sound file, or text."""
    from geneface.avatar.avatar import Avatar
    from geneface.avatar.performance import Performance

    if (audio is None) == (text is None):
        raise InputError("render needs either --audio or --text", "give one of them")
    only_text = {"--voice": voice, "--voice-folder": voice_folder, "--voice-url": voice_url, "--lang": lang}
    idle = [name for name, value in only_text.items() if value is not None]
    if text is None and idle:
        raise InputError(f"{idle[0]} is for --text, and --audio was given", "leave it out, or give --text instead")
    chosen, pixels = _format(format, out), parse_size(size)
    performance = Performance(temperature, seed, mouth_gain, blink == "auto", body, style)
    choice = _choice(voice, voice_folder, voice_url, lang)
    with progress_bars(not json) as progress:
        started = time.perf_counter()
        loaded = Avatar.load(avatar, encoder_path)
        with _speech(audio, text, choice) as speech:
            frames = loaded.render(
                speech,
                out,
                performance,
                format=chosen,
                size=pixels,
                frame=frame,
                background=background,
                progress=progress,
            )
    own = loaded.camera.width
    is_drawn = body == "drawn" or not loaded.has_body
    if isinstance(pixels, int) and pixels > own and is_drawn and chosen != "landmarks":
        process.say(
            f"geneface: {pixels} pixels are more than the {own} that the avatar was trained at, and show no more of "
            "the person: prepare and train with a larger --size for that"
        )
    _say(out, frames, time.perf_counter() - started, json)


def batch(
    context: typer.Context,
    jobs: Annotated[Path, typer.Argument(help="A CSV file; see below.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the videos.")],
    voice: VoiceOption = None,
    voice_folder: VoiceFolderOption = None,
    voice_url: VoiceUrlOption = None,
    lang: LangOption = None,
    encoder_path: EncoderPathOption = None,
    json: JsonOption = False,
) -> None:
    """Render the rows of a table.

    Skips what is done, and lists failures in failures.csv.
    """
    from geneface.apps.jobs import FAILURES_FILE, run_jobs

    def show(error: BaseException) -> None:
        if context.find_root().params.get("debug"):
            traceback.print_exception(error)

    with progress_bars(not json) as progress:
        choice = _choice(voice, voice_folder, voice_url, lang)
        outcome = run_jobs(jobs, out, progress, show, encoder_path=encoder_path, voice=choice)
    if json:
        print_json({"rendered": outcome.rendered, "skipped": outcome.skipped, "failed": outcome.failed})
    else:
        print(f"{outcome.rendered} rendered, {outcome.skipped} done before, {len(outcome.failed)} failed")
    if outcome.failed:
        total = outcome.rendered + outcome.skipped + len(outcome.failed)
        first = outcome.failed[0]
        told = InputError(
            f"{len(outcome.failed)} of {total} jobs failed, first line {first['line']} ({first['reason']})",
            f"see {out / FAILURES_FILE}, correct them and repeat",
        )
        if not outcome.has_fault:
            raise told
        process.say(f"geneface: {told}")
        raise typer.Exit(EXIT_FAULT)


def _format(name: Format | None, out: Path) -> Format:
    from geneface.avatar.outputs import FORMATS, SUFFIXES

    suffix = out.suffix.lower()
    known = ", ".join(f"{SUFFIXES[kind] or 'a name without suffix'} ({kind})" for kind in FORMATS)
    for kind in FORMATS:
        if name is None and suffix == SUFFIXES[kind]:
            return kind
        if kind == name:
            if suffix != SUFFIXES[kind]:
                remedy = (
                    f"end it in {SUFFIXES[kind]}" if SUFFIXES[kind] else "give the name of a folder, without suffix"
                )
                raise InputError(f"{out} is not a name for {kind}", remedy)
            return kind
    raise InputError(f"the name {out} tells no format", f"end it in one of: {known}")


def _choice(voice: str | None, folder: Path | None, url: str | None, lang: str | None) -> VoiceChoice:
    from geneface.voice.registry import VoiceChoice

    if folder is not None and url is not None:
        raise InputError("--voice-folder and --voice-url were given", "give one of them")
    if lang is not None and folder is None:
        raise InputError("--lang is for --voice-folder", "leave it out, or give a folder with voices of that language")
    return VoiceChoice(voice, folder, url, lang)


@contextmanager
def _speech(audio: Path | None, text: str | None, choice: VoiceChoice) -> Iterator[Path]:
    """The file to render: the one given, or the text spoken into one, so that both give the same video."""
    from geneface.voice.voice import save_speech

    if text is None:
        assert audio is not None
        yield audio
        return
    with TemporaryDirectory(prefix="geneface-") as folder:
        path = Path(folder) / "speech.wav"
        save_speech(text, path, choice.open())
        yield path


def _say(out: Path, frames: int, seconds: float, json: bool) -> None:
    facts: dict[str, Any] = {
        "out": str(out),
        "frames": frames,
        "seconds": round(seconds, 3),
        "frames_per_second": round(frames / seconds, 2),
    }
    if json:
        print_json(facts)
    else:
        print(f"{out}: {frames} frames in {seconds:.1f} s, {frames / seconds:.0f} frames/s")
