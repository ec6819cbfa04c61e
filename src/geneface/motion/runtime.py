"""Speech features to landmark motion without torch. F video frames, K landmarks, C coefficients, D feature width.

Features come at 50 Hz [2F, D], motion leaves at 25 Hz as displacement from the person's neutral [F, K, 3], head units.
Long recordings are computed in windows with enough context on both sides that the result is the same as in one piece
(test: 1e-5); memory does not grow with length when the features are handed over in blocks. The graph's noise is drawn
by position in time, so it does not depend on the windows either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from pydantic import Field

from geneface.config import Config
from geneface.errors import InputError
from geneface.geometry.landmarks import JAW, KEYPOINTS, LIPS
from geneface.io.assets import asset_path
from geneface.io.records import read_record
from geneface.io.session import open_session
from geneface.io.tensors import load_tensors
from geneface.motion.basis import MotionBasis
from geneface.motion.generic import GenericMotion
from geneface.signal.timing import ROWS_PER_FRAME
from geneface.types import FloatArray, SpeechFeatures

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MODEL_FORMAT = 3
RECORDED_FOLDER = "recorded"
"""In a motion model's folder: another one, for recorded speech, whose encoder hears what comes later too."""
_NOISE_BLOCK = 64
_WINDOW_FRAMES = 250
_SPEAKING = np.unique(np.concatenate([LIPS, JAW]))
"""Landmarks that follow the speech, whatever the temperature."""

NEXT = "next."
"""Before the name of an input of the graph: the output that is that input for the next piece."""
ModelState = Mapping[str, FloatArray]
"""What the graph keeps of a speech, by its inputs; never written to."""

FeatureBlocks = SpeechFeatures | Iterable[SpeechFeatures]


class MotionModelConfig(Config):
    """`config.json` of a motion model folder: all that inference has to know besides the graph and the tensors."""

    format: int = MODEL_FORMAT
    encoder: str
    """Name of the speech encoder whose features it takes."""
    feature_width: int = Field(ge=1, le=1 << 14)
    """D."""
    latent_channels: int = Field(ge=1, le=1 << 12)
    """Z of the noise input [1, Z, F / latent_stride]."""
    latent_stride: int = Field(ge=2, le=64)
    """Video frames per latent step."""
    past_frames: int = Field(ge=0, le=1 << 14)
    """Frames of speech before a frame of motion that it depends on; a multiple of the stride."""
    future_frames: int = Field(ge=0, le=1 << 10)
    """Frames of speech after it."""
    keypoints: tuple[int, ...] = KEYPOINTS
    """Mesh indices of the landmarks it moves."""


class PersonMotion(Protocol):
    """Moves generic motion into a person's domain (`motion.adaptation`)."""

    @property
    def past_frames(self) -> int:
        """Frames before an output frame, of motion or of speech, that it depends on."""
        ...

    @property
    def future_frames(self) -> int:
        """Frames of speech after it. Of motion it sees none: that would add to what the generic model looks ahead."""
        ...

    def apply(self, generic: GenericMotion, first: int = 0, last: int | None = None) -> FloatArray:
        """-> [F, K, 3] displacement from the person's own neutral, or only the frames [first, last) of it."""
        ...


@runtime_checkable
class LivePersonMotion(PersonMotion, Protocol):
    """One that can remember what it saw of a speech."""

    def live(self) -> PersonMotion:
        """For one speech: `apply` is called on its frames in their order, each once, with all of their future."""
        ...


@dataclass(frozen=True)
class Window:
    """A stretch of the recording with context, from frame `start`; frames [keep_from, keep_to) are wanted."""

    rows: FloatArray
    """[2 (keep_to - start + future), D], fewer at the end of the recording."""
    start: int
    keep_from: int
    keep_to: int


def windows(
    blocks: Iterable[FloatArray], window: int, past: int, future: int, first_window: int | None = None
) -> Iterator[Window]:
    """Cut a stream of feature rows into windows whose borders do not depend on the blocks.

    Args:
        blocks: consecutive rows [*, D] at 50 Hz, of any lengths.
        window: frames that each window but the last contributes.
        past, future: frames before and after, fewer at the ends of the recording.
        first_window: frames that the first one contributes, `window` by default.
    """
    pending: list[FloatArray] = []
    held = 0
    wanted = window if first_window is None else first_window
    start, done = 0, 0

    def take(keep_to: int, end: int) -> Window:
        nonlocal pending, held, start, done
        rows = np.concatenate(pending)
        chosen = Window(rows[: (end - start) * ROWS_PER_FRAME], start, done, keep_to)
        next_start = max(0, keep_to - past)
        pending = [rows[(next_start - start) * ROWS_PER_FRAME :]]
        held = len(pending[0])
        start, done = next_start, keep_to
        return chosen

    for block in blocks:
        pending.append(block)
        held += len(block)
        while start + held // ROWS_PER_FRAME >= done + wanted + future:
            yield take(done + wanted, done + wanted + future)
            wanted = window
    if held % ROWS_PER_FRAME:
        raise ValueError("speech features must have two rows a video frame")
    end = start + held // ROWS_PER_FRAME
    if end > done:
        yield take(end, end)


def latent_noise(start: int, count: int, channels: int, seed: int) -> FloatArray:
    """Standard normal noise of latent steps [start, start + count): [count, channels], a function of step and seed."""
    first, last = start // _NOISE_BLOCK, (start + count - 1) // _NOISE_BLOCK
    blocks = [
        np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, block])).standard_normal(
            (_NOISE_BLOCK, channels), dtype=np.float32
        )
        for block in range(first, last + 1)
    ]
    offset = start - first * _NOISE_BLOCK
    return np.concatenate(blocks)[offset : offset + count]


class MotionModel:
    """The generic speech-to-motion model of a folder (`config.json`, `motion.onnx`, `stats.safetensors`)."""

    def __init__(self, session: InferenceSession, config: MotionModelConfig, basis: MotionBasis, folder: Path) -> None:
        """`folder`: where it was loaded from."""
        self.session, self.config, self.basis, self.folder = session, config, basis, folder
        sizes = {value.name: value.shape for value in session.get_inputs() if value.name not in ("features", "noise")}
        # Two of them have any length: a frame of nothing at either end of the speech.
        self._start = {
            name: np.zeros([size if isinstance(size, int) else 1 for size in shape], np.float32)
            for name, shape in sizes.items()
        }
        self._outputs = [value.name for value in session.get_outputs()]

    @classmethod
    def load(cls, folder: Path | None = None) -> MotionModel:
        """Load a folder, by default the weights that ship with the package.

        Raises:
            InputError: a file is missing, unreadable, or of another format or landmark set.
        """
        folder = asset_path("motion") if folder is None else Path(folder)
        config = read_record(MotionModelConfig, folder / "config.json", MODEL_FORMAT)
        if config.keypoints != KEYPOINTS:
            raise InputError(f"the motion model {folder} has other landmarks", "train it again with this version")
        stats = folder / "stats.safetensors"
        try:
            basis = MotionBasis.from_tensors(load_tensors(stats))
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{stats} is damaged", "train or install the motion model again") from error
        session = open_session(folder / "motion.onnx")
        widths = {output.name: output.shape[1] for output in session.get_outputs()}
        heard = next((value.shape[-1] for value in session.get_inputs() if value.name == "features"), None)
        if (
            widths.get("motion") != basis.width
            or not isinstance(widths.get("hidden"), int)
            or heard != config.feature_width
        ):
            raise InputError(f"{folder / 'motion.onnx'} is damaged", "train or install the motion model again")
        return cls(session, config, basis, folder)

    @property
    def goes_on(self) -> bool:
        """Whether speech can come in pieces (`go_on`); older models can't, and see their past anew."""
        return bool(self._start)

    @property
    def hidden_width(self) -> int:
        """H."""
        return next(output.shape[1] for output in self.session.get_outputs() if output.name == "hidden")

    def predict(
        self,
        features: SpeechFeatures,
        *,
        temperature: float = 0.0,
        seed: int = 0,
        person: PersonMotion | None = None,
    ) -> FloatArray:
        """Displacement from neutral of the whole recording in one piece: features [2F, D] -> [F, K, 3].

        Args:
            temperature: 0 follows the mean path; 1 samples the prior as trained: brows, cheeks and the rest of the
                face vary. Lips and jaw follow the mean path.
            seed: of the noise; nothing random remains at temperature 0.
            person: applied to the generic motion.
        """
        frames = len(features.values) // ROWS_PER_FRAME
        chunks = self.predict_windows(
            features, temperature=temperature, seed=seed, person=person, window_frames=max(frames, 1)
        )
        return next(chunks, np.zeros((0, *self.basis.mean.shape), np.float32))

    def generic(self, features: SpeechFeatures) -> GenericMotion:
        """All that an adaptation is fitted to, of the whole recording in one piece and at temperature 0.

        An odd row at its end belongs to no frame and is left out.
        """
        rows = np.concatenate([*self._rows(features)])
        frames = len(rows) // ROWS_PER_FRAME
        return self._generic(Window(rows[: frames * ROWS_PER_FRAME], 0, 0, frames), 0.0, 0)

    def predict_windows(
        self,
        features: FeatureBlocks,
        *,
        temperature: float = 0.0,
        seed: int = 0,
        person: PersonMotion | None = None,
        window_frames: int = _WINDOW_FRAMES,
        early_start: bool = False,
    ) -> Iterator[FloatArray]:
        """As `predict`, in consecutive pieces [f, K, 3] of `window_frames`; features may come in blocks.

        Args:
            window_frames: is rounded up to whole latent steps.
            early_start: the first piece is shorter by the frames that the model looks ahead, so that it needs the
                features of `window_frames` and no more; so does every later piece, then.
        """
        stride = self.config.latent_stride
        window = -(-window_frames // stride) * stride
        past, future = self.context(person)
        # The first window begins a latent step, as all do.
        ahead = future + -future % stride
        first = window - ahead if early_start and window > ahead else window
        for piece in windows(self._rows(features), window, past, future, first):
            yield self.motion_of(piece, temperature, seed, person)

    def context(self, person: PersonMotion | None = None) -> tuple[int, int]:
        """Frames before a frame, in whole latent steps, and after it that its motion depends on."""
        past, future = self.config.past_frames, self.config.future_frames
        if person is not None:
            past, future = past + person.past_frames, max(future, person.future_frames)
        return past + -past % self.config.latent_stride, future

    def motion_of(
        self,
        piece: Window,
        temperature: float = 0.0,
        seed: int = 0,
        person: PersonMotion | None = None,
    ) -> FloatArray:
        """Displacement [f, K, 3] of the wanted frames of a window that has the context they need (`context`)."""
        motion = self._moved(piece, 0.0, seed, person)
        return varied(motion, self._moved(piece, temperature, seed, person)) if temperature else motion

    def go_on(
        self, rows: FloatArray, first_step: int, state: ModelState | None, temperature: float = 0.0, seed: int = 0
    ) -> tuple[FloatArray, FloatArray, ModelState]:
        """Generic motion of the next latent steps of a speech, each computed once.

        Args:
            rows: [2f, D] features of the frames after those that were given before. The model looks one frame beyond
                a step: the first piece has that frame more than the steps have, later ones have as many.
            first_step: latent steps that were made before.
            state: of the piece before; None for the first.

        Returns:
            displacement [f', K, 3] and hidden layer [f', H] of the steps' frames; what the next piece needs.
        """
        stride = self.config.latent_stride
        steps = (len(rows) // ROWS_PER_FRAME - (state is None)) // stride
        memory = {**self._start, "after": self._start["after"][:, :, :0], **(state or {})}
        inputs = {"features": rows[None], "noise": self._noise(first_step, steps, temperature, seed), **memory}
        outputs = dict(zip(self._outputs, self.session.run(self._outputs, inputs), strict=True))
        motion, hidden = (np.asarray(outputs.pop(name))[0].T for name in ("motion", "hidden"))
        following = {name.removeprefix(NEXT): np.asarray(value) for name, value in outputs.items()}
        return self.basis.displacement(motion), np.ascontiguousarray(hidden), following

    def _rows(self, features: FeatureBlocks) -> Iterator[FloatArray]:
        for block in [features] if isinstance(features, SpeechFeatures) else features:
            if block.encoder != self.config.encoder or block.values.shape[1] != self.config.feature_width:
                raise InputError(
                    f"the motion model takes speech features of {self.config.encoder}, not of {block.encoder}",
                    f"encode the speech with {self.config.encoder}, or train a model for {block.encoder}",
                )
            yield np.asarray(block.values, dtype=np.float32)

    def _moved(self, piece: Window, temperature: float, seed: int, person: PersonMotion | None) -> FloatArray:
        """Displacement [f, K, 3] of the wanted frames."""
        generic = self._generic(piece, temperature, seed)
        return moved(generic, piece.keep_from - piece.start, piece.keep_to - piece.start, person)

    def _generic(self, piece: Window, temperature: float, seed: int) -> GenericMotion:
        """All frames of a window."""
        stride = self.config.latent_stride
        rows, frames = piece.rows, len(piece.rows) // ROWS_PER_FRAME
        missing = -frames % stride
        if missing:
            rows = np.concatenate([rows, np.repeat(rows[-ROWS_PER_FRAME:], missing, axis=0)])
        steps = (frames + missing) // stride
        noise = self._noise(piece.start // stride, steps, temperature, seed)
        inputs = {"features": rows[None], "noise": noise, **self._start}
        motion, hidden = (np.asarray(out)[0].T[:frames] for out in self.session.run(["motion", "hidden"], inputs))
        return GenericMotion(self.basis.displacement(motion), np.ascontiguousarray(hidden), piece.rows)

    def _noise(self, first_step: int, steps: int, temperature: float, seed: int) -> FloatArray:
        """[1, Z, steps]."""
        channels = self.config.latent_channels
        if not temperature:
            return np.zeros((1, channels, steps), np.float32)
        noise = temperature * latent_noise(first_step, steps, channels, seed)
        return np.ascontiguousarray(noise.T[None], dtype=np.float32)


def moved(generic: GenericMotion, first: int, last: int, person: PersonMotion | None) -> FloatArray:
    """Displacement [f, K, 3] of frames [first, last), of the person if there is one."""
    if person is None:
        return generic.displacement[first:last]
    # The generic model's own past is longer: the person's need not be computed for frames that are not shown.
    start = max(0, first - person.past_frames)
    return person.apply(generic[start : last + person.future_frames], first - start, last - start)


def varied(motion: FloatArray, sample: FloatArray) -> FloatArray:
    """The mean path's lips and jaw in a sample of the motion [F, K, 3], which is changed."""
    # A sample is one of the ways to say it; other lips than the likeliest are lips that miss.
    sample[:, _SPEAKING] = motion[:, _SPEAKING]
    return sample
