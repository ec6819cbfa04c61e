"""corpus, pretrain: the generic models, from recordings of many people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from geneface.apps.options import (
    EncoderOption,
    EncoderPathOption,
    JsonOption,
    PresetOption,
    ResumeOption,
    SeedOption,
    clips_of,
    existing,
    print_json,
    tell,
)
from geneface.apps.progress import progress_bars
from geneface.apps.renamed import renamed
from geneface.io.clips import SOUND_SUFFIXES, VIDEO_SUFFIXES

_EXAMPLE_CORPUS = "Example: geneface corpus prepare grid/s1 grid/s26 -o corpus"
_EXAMPLE_VOICES = "Example: geneface corpus voices corpus grid/s1 grid/s26 --augmentations 3"
_EXAMPLE_SYNC = "Example: geneface pretrain sync corpus -o model"
_EXAMPLE_LIP_SYNC = "Example: geneface pretrain lip-sync corpus -o lip_sync"
_EXAMPLE_MOTION = "Example: geneface pretrain motion corpus --sync model -o model"
_EXAMPLE_SPEECH = (
    "Example: geneface pretrain speech model.bin --recordings speech --distillation voices -o encoder.onnx"
)

CorpusArgument = Annotated[Path, typer.Argument(help="A folder of `geneface corpus prepare`.")]
ModelOption = Annotated[Path, typer.Option("-o", "--out", help="Folder of the model and its checkpoints.")]

corpus_app = typer.Typer(
    help="Recordings of many speakers.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=renamed(
        {
            "disguises": "augmentations",
            "holds": "held-vowels",
            "quiet": "non-speech",
            "voice-dir": "voice-folder",
        }
    ),
)
pretrain_app = typer.Typer(
    help="Train the generic models.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=renamed({"judge": "lip-sync", "teaching": "distillation"}),
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(corpus_app, name="corpus")
    app.add_typer(pretrain_app, name="pretrain")


@corpus_app.command("prepare", epilog=_EXAMPLE_CORPUS)
def corpus_prepare(
    folders: Annotated[list[Path], typer.Argument(help="Folders of clips; folders or file names say who speaks.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The corpus folder to make.")],
    encoder: EncoderOption = "whisper-4-streaming",
    encoder_path: EncoderPathOption = None,
    layout: Annotated[
        Literal["auto", "lrs3", "mead", "crema-d", "hdtf", "grid", "generic"],
        typer.Option(help="How the clips lie in the folders (docs/corpus.md); auto recognises it."),
    ] = "auto",
    cameras: Annotated[
        str, typer.Option(help="Where several cameras filmed a speaker at once (MEAD): front,left_30 or all.")
    ] = "front",
    workers: Annotated[
        int | None, typer.Option(help="Processes on this machine, by default one for each core.", min=1)
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Track on a Ray cluster: HOST:PORT, auto, or local for this machine."),
    ] = None,
    resume: ResumeOption = False,
    json: JsonOption = False,
) -> None:
    """Track the clips of many speakers and encode their speech."""
    from geneface.corpus.prepare import prepare_corpus

    for folder in folders:
        if existing(folder, "the folder").is_dir():
            clips_of(folder, is_deep=True)
    with progress_bars(not json) as progress:
        manifest = prepare_corpus(
            folders,
            out,
            layout=layout,
            cameras=[name for name in cameras.split(",") if name],
            encoder=encoder,
            encoder_path=encoder_path,
            resume=resume,
            workers=workers,
            ray=ray,
            progress=progress,
            tell=tell,
        )
    facts = {
        "out": str(out),
        "clips": len(manifest.clips),
        "heldout": sum(entry.heldout for entry in manifest.clips),
        "speakers": len(manifest.speakers),
        "dropped": [entry.model_dump() for entry in manifest.dropped],
    }
    if json:
        print_json(facts)
        return
    print(
        f"{out}: {facts['clips']} clips of {facts['speakers']} speakers, {facts['heldout']} of them held out, "
        f"{len(manifest.dropped)} dropped"
    )
    for entry in manifest.dropped:
        print(f"  {entry.name}: {entry.reason}")


@corpus_app.command("voices", epilog=_EXAMPLE_VOICES)
def corpus_voices(
    corpus: CorpusArgument,
    folders: Annotated[list[Path], typer.Argument(help="The folders that the corpus was prepared from.")],
    augmentations: Annotated[int, typer.Option(help="Augmented recordings of each training clip.", min=0)] = 3,
    held_vowels: Annotated[int, typer.Option(help="Clips with a vowel that is held, at most.", min=0)] = 250,
    non_speech: Annotated[int, typer.Option(help="Sounds without speech, to keep the lips closed.", min=0)] = 250,
    words: Annotated[
        Path | None, typer.Option(help='JSON {clip: [[start_s, end_s, word], ...]}, "sil" and "sp" are silence.')
    ] = None,
    voice_folder: Annotated[Path | None, typer.Option(help="Kokoro model and voices, as for render --text.")] = None,
    speakers: Annotated[str, typer.Option(help="Voices that say the clips' words again: af_heart,bm_george")] = "",
    sentences: Annotated[int, typer.Option(help="Clips that they resynthesise, at most.", min=0)] = 250,
    encoder_path: EncoderPathOption = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Add recordings to the training clips: augmented, with held vowels, resynthesised. Interrupted, it goes on."""
    from geneface.corpus.voices import add_voices
    from geneface.io.words import read_words

    existing(corpus, "the corpus")
    for folder in folders:
        existing(folder, "the folder")
    with progress_bars(not json) as progress:
        record = add_voices(
            corpus,
            folders,
            augmentations=augmentations,
            held_vowels=held_vowels,
            non_speech=non_speech,
            words=None if words is None else read_words(words),
            voice_folder=voice_folder,
            speakers=[name for name in speakers.split(",") if name],
            sentences=sentences,
            encoder_path=encoder_path,
            seed=seed,
            progress=progress,
        )
    facts = {"out": str(corpus), "recordings": len(record.files), "misaligned": record.misaligned}
    if json:
        print_json(facts)
        return
    print(f"{corpus}: {facts['recordings']} more recordings, {facts['misaligned']} sentences could not be aligned")


@pretrain_app.command("sync", epilog=_EXAMPLE_SYNC)
def pretrain_sync(
    corpus: CorpusArgument,
    out: ModelOption,
    preset: PresetOption = "fast",
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    json: JsonOption = False,
) -> None:
    """Train the expert that tells whether lips and speech belong together."""
    from geneface.training.motion import sync

    existing(corpus, "the corpus")
    with progress_bars(not json) as progress:
        scores = sync.pretrain_sync(corpus, out, preset, seed=seed, resume=resume, progress=progress)
    _print_scores(out, scores, json)


@pretrain_app.command("lip-sync", epilog=_EXAMPLE_LIP_SYNC)
def pretrain_lip_sync(
    corpus: CorpusArgument,
    out: ModelOption,
    attribution: Annotated[
        str | None, typer.Option(help="For the card: whose recordings, under which licence.")
    ] = None,
    preset: PresetOption = "fast",
    seed: SeedOption = 1,
    resume: ResumeOption = False,
    json: JsonOption = False,
) -> None:
    """Train the lip-sync classifier, which measures and is never a training loss, on half of the clips."""
    from geneface.training.motion import lip_sync

    existing(corpus, "the corpus")
    with progress_bars(not json) as progress:
        scores = lip_sync.pretrain_lip_sync(
            corpus, out, preset, seed=seed, attribution=attribution, resume=resume, progress=progress
        )
    _print_scores(out, scores, json)


@pretrain_app.command("motion", epilog=_EXAMPLE_MOTION)
def pretrain_motion(
    corpus: CorpusArgument,
    out: ModelOption,
    sync: Annotated[
        Path | None, typer.Option(help="Folder of `pretrain sync`; without it there is no sync loss.")
    ] = None,
    preset: PresetOption = "fast",
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    json: JsonOption = False,
) -> None:
    """Train speech to motion, and export it."""
    from geneface.training.motion import train as motion

    existing(corpus, "the corpus")
    with progress_bars(not json) as progress:
        scores = motion.pretrain_motion(corpus, sync, out, preset, seed=seed, resume=resume, progress=progress)
    _print_scores(out, scores, json)


@pretrain_app.command("speech", epilog=_EXAMPLE_SPEECH)
def pretrain_speech(
    weights: Annotated[
        list[Path], typer.Argument(help="Whisper as CTranslate2 model.bin (or its parts), or a folder.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The ONNX file to write; statistics and card are written next to it.")
    ],
    recordings: Annotated[
        list[Path], typer.Option(help="Speech of many voices, files or folders, to check and normalise.")
    ],
    distillation: Annotated[
        list[Path] | None,
        typer.Option(help="Any speech, files or folders, on which the layers learn to attend only to what is near."),
    ] = None,
    layers: Annotated[int, typer.Option(help="Transformer layers to keep.", min=1)] = 2,
    steps: Annotated[int, typer.Option(help="Updates of the distillation.", min=1)] = 400,
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    json: JsonOption = False,
) -> None:
    """Export the first layers of Whisper's encoder as the default speech encoder, distilled for streaming."""
    from geneface.training.speech.export import export_speech_encoder

    for path in (*weights, *recordings, *(distillation or ())):
        existing(path, "the file or folder")
    with progress_bars(not json) as progress:
        card = export_speech_encoder(
            weights[0] if len(weights) == 1 else weights,
            out,
            _sounds(recordings),
            layers,
            progress,
            distillation=_sounds(distillation or ()),
            steps=steps,
            seed=seed,
            resume=resume,
        )
    _print_scores(out, card["check"] | (card["distillation"] or {}), json)


def _sounds(paths: Sequence[Path]) -> list[Path]:
    """The files, and those inside of the folders."""
    files: list[Path] = []
    for path in paths:
        files += clips_of(path, VIDEO_SUFFIXES | SOUND_SUFFIXES, is_deep=True) if path.is_dir() else [path]
    return files


def _print_scores(out: Path, scores: dict[str, Any], json: bool) -> None:
    if json:
        print_json({"out": str(out), **scores})
        return
    print(f"{out}:")
    _print_table(scores, "  ")


def _print_table(scores: dict[str, Any], indent: str) -> None:
    for name, value in scores.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            _print_table(value, indent + "  ")
        else:
            print(f"{indent}{name}: {f'{value:.3f}' if isinstance(value, float) else value}")
