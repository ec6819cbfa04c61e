"""A trained person: speech in, motion or pictures out. One generator of frames feeds everything that shows a face.

F frames at 25 Hz; frame f shows the sound of f / 25 s. Motion is made in windows of some seconds by a thread that runs
ahead of the pictures, so that memory grows by the sound's samples alone, 4 MB a minute, and streaming output is the
offline output.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

from geneface.analysis.speech import DEFAULT_ENCODER, SpeechEncoder, StreamingEncoder, load_encoder
from geneface.avatar.ahead import ahead
from geneface.avatar.background import KEEP
from geneface.avatar.body import Body
from geneface.avatar.finish import Finish
from geneface.avatar.folder import MOTION_FOLDER, PERSON_FOLDER, AvatarFiles, read_avatar, read_metrics
from geneface.avatar.hearing import Hearing, check_adaptation, recorded_hearing
from geneface.avatar.inputs import NO_SPEECH, speech_and_sound, speech_samples
from geneface.avatar.live import LivePerformance
from geneface.avatar.outputs import FORMATS, Format, write_motion, write_pictures
from geneface.avatar.parts import adaptation_of, of_this_version
from geneface.avatar.performance import Performance, performance_or_default
from geneface.avatar.pictures import Pictures, as_bytes, drawn_frames, pieces_of
from geneface.avatar.recorded import FACE_SIGMA_FRAMES, recorded_motion
from geneface.avatar.view import Frame, Size, asks_for_source
from geneface.errors import InputError
from geneface.io.clips import path_of
from geneface.io.place import refuse_inside
from geneface.motion.adaptation import Adaptation
from geneface.motion.runtime import MotionModel
from geneface.render.detail import sharpened
from geneface.render.registry import create_renderer
from geneface.render.renderer import Picture, RenderedFrame, Renderer
from geneface.signal.timing import frames_to_cover
from geneface.types import (
    ByteArray,
    Camera,
    FloatArray,
    MotionTrack,
    ProgressFn,
    Waveform,
    no_progress,
)

_MOTION_WINDOWS_AHEAD = 2


class Avatar:
    """A trained person, loaded from its folder: speech in, motion or pictures out. `Avatar.load` makes one.

    Any number of threads may use one avatar at once, and each gets what it would get alone; a single generator of
    frames or motion belongs to one thread at a time. A pickled avatar is loaded again from its folder where it
    arrives; after a fork the child may use the avatar, but not the streams that its parent began.
    """

    def __init__(
        self, files: AvatarFiles, encoder: SpeechEncoder, model: MotionModel, person: Adaptation | None
    ) -> None:
        self.files = files
        # Where a pickled avatar is loaded from, whatever the working folder is by then.
        self._home = files.folder.resolve()
        self._encoder, self._model, self._person_motion = encoder, model, person
        self._encoder_path: Path | None = None

    @classmethod
    def load(cls, avatar: Path | str, encoder_path: Path | str | None = None) -> Avatar:
        """Load an avatar from its folder, or a bundled one by name (`grid-s1`).

        Args:
            encoder_path: weights of the speech encoder, for avatars that hear with one that is not shipped; by
                default those that the environment's GENEFACE_ENCODER_PATH names.

        Raises:
            InputError: no such avatar, or a file of it that is missing or damaged.
        """
        files = read_avatar(avatar)
        with ThreadPoolExecutor(1) as pool:
            # Most of the time goes into the preparation of the two graphs, without the interpreter's lock.
            loading = pool.submit(MotionModel.load, files.folder / MOTION_FOLDER)
            encoder = load_encoder(files.config.encoder, encoder_path)
            model = of_this_version(files.folder, loading.result)
        return cls.of(files, encoder, model, encoder_path)

    @classmethod
    def of(
        cls, files: AvatarFiles, encoder: SpeechEncoder, model: MotionModel, encoder_path: Path | str | None = None
    ) -> Avatar:
        """An avatar whose networks are loaded already.

        Args:
            model: its own generic motion model; `encoder` is the one that it hears.
            encoder_path: where the encoder's weights are, if it has some of its own.

        Raises:
            InputError: parts that do not belong together, or a file that is missing or damaged.
        """
        if not model.config.encoder == files.config.encoder == encoder.name:
            raise InputError(
                f"the motion model in {files.folder} hears {model.config.encoder}, the avatar {files.config.encoder}",
                "train the avatar again or copy it again",
            )
        person = of_this_version(files.folder, lambda: adaptation_of(files.folder / PERSON_FOLDER))
        if person is None and "motion_adaptation" in files.config.training:
            raise InputError(f"the avatar {files.folder} lacks the folder {PERSON_FOLDER}", "copy it again")
        check_adaptation(person, model, files.folder)
        loaded = cls(files, encoder, model, person)
        loaded._encoder_path = None if encoder_path is None else Path(encoder_path).resolve()
        # Built here and not at the first frame: a damaged model must be refused before an output file is begun.
        try:
            _ = loaded.renderer
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            # The tensors are untrusted: whatever does not fit together is a fault of the file.
            raise InputError(
                f"the renderer's tensors in {files.folder} do not fit its configuration",
                "train the avatar again or copy it again",
            ) from error
        return loaded

    def __reduce__(self) -> tuple[Callable[..., Avatar], tuple[Path, Path | None, bool]]:
        # Sessions cannot be pickled; the folder holds everything.
        return _load, (self._home, self._encoder_path, self._person_motion is not None)

    def unadapted(self) -> Avatar | None:
        """The same with the generic model's motion on the person's neutral face, to compare with.

        None if it has no adaptation to leave out.
        """
        if self._person_motion is None:
            return None
        generic = Avatar(self.files, self._encoder, self._model, None)
        generic._encoder_path = self._encoder_path
        return generic

    @property
    def name(self) -> str:
        """As its configuration has it."""
        return self.files.config.name

    @property
    def camera(self) -> Camera:
        """The one that the avatar was trained with, at the size that it was trained at."""
        return self.files.config.camera

    @property
    def neutral(self) -> FloatArray:
        """[478, 3] the person's face at rest."""
        return self.files.person.neutral

    @cached_property
    def renderer(self) -> Renderer:
        """Draws over the avatar's own plate."""
        return self._new_renderer(self.files.plate)

    @property
    def has_body(self) -> bool:
        """Whether it carries a video of the person, which lips can be put on."""
        return self.files.body is not None

    @property
    def clips(self) -> tuple[str, ...]:
        """Names of the person's clips that a style can be taken from; avatars made before have none."""
        styles = self.files.person.styles
        return () if styles is None else styles.clips

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The figures stored with the avatar, if it carries any."""
        return read_metrics(self.files.folder)

    def motion(self, audio: Waveform | Path | str, performance: Performance | None = None) -> MotionTrack:
        """All of the motion at once: ceil(25 T / 16000) frames."""
        return MotionTrack.concatenate(self.motion_windows(audio, performance))

    def motion_windows(
        self, audio: Waveform | Path | str, performance: Performance | None = None
    ) -> Generator[MotionTrack, None, None]:
        """The same in consecutive pieces of some seconds, made as they are asked for; the first one is short."""
        return self._motion_windows(speech_samples(audio), performance_or_default(performance))

    def _motion_windows(self, samples: FloatArray, performance: Performance) -> Generator[MotionTrack, None, None]:
        person = self.files.person
        # Made now and not when the first frame is asked for: it refuses what can't be used.
        finish = Finish(person, performance, self._body(performance))
        return recorded_motion(self._recorded, person.neutral_landmarks, samples, performance, finish)

    @property
    def recorded_encoder(self) -> str:
        """Name of the speech encoder that hears recorded speech."""
        return self._recorded.encoder.name

    @cached_property
    def _recorded(self) -> Hearing:
        own = Hearing(self._encoder, self._model, self._person_motion)
        return recorded_hearing(self.files.folder, self._person_motion is not None) or own

    def live(self, performance: Performance | None = None) -> LivePerformance:
        """The avatar for speech that is being spoken: sound goes in piece by piece, motion comes out.

        Raises:
            InputError: the avatar's speech encoder needs the whole recording.
        """
        performance = performance_or_default(performance)
        if not isinstance(self._encoder, StreamingEncoder):
            raise InputError(
                f"the speech encoder {self._encoder.name} needs the whole recording, and live speech has none",
                f"render recorded speech, or prepare and train the avatar with {DEFAULT_ENCODER}",
            )
        return LivePerformance(
            self._encoder,
            self._model,
            self._person_motion,
            self.files.person,
            performance,
            sigma_frames=FACE_SIGMA_FRAMES,
            body=self._body(performance),
        )

    def stream(
        self,
        audio: Waveform | Path | str,
        performance: Performance | None = None,
        *,
        size: Size | None = None,
        frame: Frame | None = None,
        background: str | Path = KEEP,
    ) -> Generator[ByteArray, None, None]:
        """Frames uint8 [H, W, 3] RGB, one at a time. Closing the generator ends the thread behind it.

        Args:
            audio: sound or the path of any media file with sound.
            size: pixels of the shorter side; by default the size the avatar was trained at; "source": as recorded.
            frame: "crop", the square around the head, or "source", the whole picture of the person's own video; the
                latter is the default for the size "source".
            background: "keep", a colour, or the path of an image; see `background_plate`.

        Raises:
            InputError: at once, before a frame is asked for: any of these that cannot be used.
        """
        performance = performance_or_default(performance)
        windows = self._motion_windows(speech_samples(audio), performance)
        pictures = self._shown(performance, size=size, frame=frame, background=background)
        return as_bytes(self._ahead(windows, pictures))

    def draw(
        self,
        motion: MotionTrack | Iterable[MotionTrack],
        *,
        size: Size | None = None,
        frame: Frame | None = None,
        background: str | Path = KEEP,
    ) -> Generator[ByteArray, None, None]:
        """Pictures of a motion, uint8 [H, W, 3] RGB, one at a time.

        Args:
            motion: a track, or consecutive pieces of one, which are asked for as they are needed: what
                `LivePerformance.push` returned, say. Whose motion it is does not matter, but for one that names frames
                of an avatar's own video (`MotionTrack.body`).
            size, frame, background: as for `stream`.

        Raises:
            InputError: at once, a size, frame or background that cannot be used; at its turn, a track of other shapes
                than `MotionTrack` states, or with values that are not finite.
        """
        return as_bytes(self.pictures(motion, size=size, frame=frame, background=background))

    def pictures(
        self,
        motion: MotionTrack | Iterable[MotionTrack],
        *,
        size: Size | None = None,
        frame: Frame | None = None,
        background: str | Path = KEEP,
    ) -> Generator[Picture, None, None]:
        """As `draw`, before pictures become bytes: each gives RGB bytes or the planes that video encoders take."""
        shown = Pictures(self.files, self._renderer_over, size=size, frame=frame, background=background)
        return shown.of(pieces_of(motion))

    def drawn(
        self,
        motion: MotionTrack | Iterable[MotionTrack],
        *,
        size: int | None = None,
        background: str | Path = KEEP,
    ) -> Generator[RenderedFrame, None, None]:
        """Every row drawn whole, whatever body it names: with opacity and plate, and ways to RGB, RGBA and planes."""
        return drawn_frames(self.files, self._renderer_over, pieces_of(motion), size, background)

    def _shown(
        self,
        performance: Performance,
        *,
        size: Size | None,
        frame: Frame | None,
        background: str | Path,
        has_opacity: bool = False,
    ) -> Pictures:
        """The pictures of a performance: checks that it is one that can be shown so."""
        if self._body(performance) is None and asks_for_source(size, frame) and self.files.body is not None:
            raise InputError(
                "a drawn body has no recorded picture around it",
                "give the body source, or the size in pixels and the frame crop",
            )
        return Pictures(
            self.files, self._renderer_over, size=size, frame=frame, background=background, has_opacity=has_opacity
        )

    def _body(self, performance: Performance) -> Body | None:
        """The video that a performance puts the lips on, or None if all is drawn."""
        body = self.files.body
        if performance.body == "source" and body is None:
            raise InputError(
                f"the avatar {self.name} carries no video of the person",
                "train it with --body-seconds, or choose the body drawn",
            )
        return None if performance.body == "drawn" else body

    @staticmethod
    def _ahead(windows: Generator[MotionTrack, None, None], pictures: Pictures) -> Generator[Picture, None, None]:
        """The pictures of windows that a thread makes ahead of them."""
        pieces = ahead(windows, _MOTION_WINDOWS_AHEAD)
        frames = pictures.of(pieces)

        def shown() -> Generator[Picture, None, None]:
            with closing(pieces), closing(frames):
                yield from frames

        return shown()

    def render(
        self,
        audio: Waveform | Path | str,
        out: Path | str,
        performance: Performance | None = None,
        *,
        format: Format = "mp4",
        size: Size | None = None,
        frame: Frame | None = None,
        background: str | Path = KEEP,
        progress: ProgressFn = no_progress,
    ) -> int:
        """Write a video with its sound, a folder of PNG files, or the motion alone. Whole or not at all.

        Args:
            out: a file; for "png" a folder, new or empty.
            format: "mp4"; "webm-alpha" without background; "png"; "landmarks", the motion as safetensors.
            size, frame, background: as for `stream`.

        Returns:
            The number of frames.
        """
        out = path_of(out, "the output", "give the path of a file or folder")
        if format not in FORMATS:
            raise InputError(f"there is no format {format!r}", f"choose one of: {', '.join(FORMATS)}")
        source = None if isinstance(audio, Waveform) else path_of(audio, *NO_SPEECH)
        self._refuse_overwriting(out, source)
        performance = performance_or_default(performance)
        has_sound = format in ("mp4", "webm-alpha")
        samples, sound = speech_and_sound(audio) if has_sound else (speech_samples(audio), None)
        total = frames_to_cover(len(samples))

        if format == "landmarks":
            facts = {"avatar": self.name, "focal": repr(self.files.config.focal)}
            return write_motion(out, self._motion_windows(samples, performance), facts, progress, total)
        # Checks size and background now, before an output file is begun.
        pictures = self._shown(
            performance, size=size, frame=frame, background=background, has_opacity=format == "webm-alpha"
        )
        with closing(self._ahead(self._motion_windows(samples, performance), pictures)) as shown:
            return write_pictures(out, format, shown, sound, self.name, progress, total)

    def _refuse_overwriting(self, out: Path, audio: Path | None) -> None:
        """An output may replace an older one, but not the speech, nor a file of the avatar."""
        if audio is not None and out.resolve() == audio.resolve():
            raise InputError(f"the output {out} is the speech itself", "choose another name")
        refuse_inside(out, self.files.folder, "the avatar's folder")

    def _renderer_over(self, plate: FloatArray) -> Renderer:
        # What it prepared for a camera is kept: pieces of live speech are drawn one call each.
        return self.renderer if plate is self.files.plate else self._new_renderer(plate)

    def _new_renderer(self, plate: FloatArray) -> Renderer:
        config = self.files.config
        renderer = create_renderer(config.renderer, self.files.tensors, config.renderer_config, plate)
        return sharpened(renderer, config.sharpen, config.size)


def _load(folder: Path, encoder_path: Path | None, adapted: bool) -> Avatar:
    avatar = Avatar.load(folder, encoder_path)
    return avatar if adapted else avatar.unadapted() or avatar
