"""What a program hands to an avatar: checked, and made plain values of Python and numpy."""

from __future__ import annotations

from operator import index
from pathlib import Path

import numpy as np

from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINT_COUNT
from geneface.io.audio import LOUDEST, SourceSound, read_audio, read_speech
from geneface.io.clips import path_of
from geneface.types import FloatArray, HeadPose, MotionTrack, Waveform, mono_samples

MIN_SIZE, MAX_SIZE = 64, 1024
NO_SPEECH = "the speech", "give a Waveform (samples at 16 kHz) or the path of a media file"
"""What is wrong with a speech of another type, for `path_of`."""


def speech_samples(audio: Waveform | Path | str) -> FloatArray:
    """[T], T > 0, of a sound or of the file at a path."""
    samples = audio.samples if isinstance(audio, Waveform) else read_audio(path_of(audio, *NO_SPEECH)).samples
    return _speech(samples)


def speech_and_sound(audio: Waveform | Path | str) -> tuple[FloatArray, Waveform | SourceSound]:
    """`speech_samples`, and the sound that a video of it has: a file's own, in full quality."""
    if isinstance(audio, Waveform):
        samples = speech_samples(audio)
        return samples, Waveform(samples)
    speech, sound = read_speech(path_of(audio, *NO_SPEECH))
    return _speech(speech.samples), sound


def _speech(samples: FloatArray) -> FloatArray:
    if not len(samples):
        raise InputError("the speech is empty", "give at least one frame (40 ms) of sound")
    return _checked(samples, "the speech")


def live_samples(values: object) -> FloatArray:
    """[T] of a piece of live sound, as `mono_samples` takes it; T may be 0."""
    return _checked(mono_samples(values, "the live sound"), "the live sound")


def picture_size(size: int) -> int:
    """Pixels along the side of a picture."""
    try:
        pixels = index(size)
    except TypeError:
        pixels = 0
    if not MIN_SIZE <= pixels <= MAX_SIZE or pixels % 2:
        shown = repr(size) if isinstance(size, str) else size
        raise InputError(
            f"the size is {shown} pixels", f"give an even whole number (an int) from {MIN_SIZE} to {MAX_SIZE}"
        )
    return pixels


def _checked(samples: FloatArray, what: str) -> FloatArray:
    if not np.isfinite(samples).all():
        raise InputError(f"{what} holds NaN or infinite samples", "export the sound again")
    # Not by np.abs: a second copy of an hour of sound would not stay small.
    if len(samples) and max(-float(samples.min()), float(samples.max())) > LOUDEST:
        raise InputError(f"the samples of {what} are far beyond -1..1", "scale them to -1..1")
    return samples


def motion_values(track: object) -> MotionTrack:
    """A track with the shapes that it states, in float32.

    Raises:
        InputError: it is none, or its values are of other shapes or not finite.
    """
    if not isinstance(track, MotionTrack) or not isinstance(track.pose, HeadPose):
        found = track.pose if isinstance(track, MotionTrack) else track
        raise InputError(f"the motion is of the type {type(found).__name__}", "give a MotionTrack with a HeadPose")
    parts = {"points": track.points, "rotation": track.pose.rotation, "translation": track.pose.translation}
    values: list[FloatArray] = []
    for name, part in parts.items():
        if not isinstance(part, np.ndarray) or part.dtype.kind not in "fiu":
            raise InputError(
                f"the array {name!r} of the motion is no array of numbers", "give a numpy array of float32"
            )
        frames = len(values[0]) if values else part.shape[0] if part.ndim else 0
        shape = (frames, KEYPOINT_COUNT, 3) if name == "points" else (frames, 3)
        if part.shape != shape:
            found = list(part.shape)
            raise InputError(f"the array {name!r} of the motion has the shape {found}", f"give {list(shape)}")
        array = np.ascontiguousarray(part, np.float32)
        if not np.isfinite(array).all():
            raise InputError(f"the array {name!r} of the motion holds NaN or infinity", "make the motion again")
        values.append(array)
    body = track.body
    if body is not None:
        if not isinstance(body, np.ndarray) or body.dtype.kind not in "iu" or body.shape != (len(values[0]),):
            raise InputError("the motion's body is no array of frame numbers", f"give integers [{len(values[0])}]")
        # No frame has a number beyond 32 bits, and none may come to look like another that way.
        short = body.astype(np.int32)
        body = np.where(short == body, short, np.int32(-1))
    return MotionTrack(values[0], HeadPose(values[1], values[2], _torso_values(track.pose.torso, len(values[0]))), body)


def _torso_values(torso: object, frames: int) -> FloatArray | None:
    if torso is None:
        return None
    if not isinstance(torso, np.ndarray) or torso.dtype.kind not in "fiu" or torso.ndim != 3:
        raise InputError(
            "the motion's torso is no array of numbers [F, G, 2]", "give a numpy array of float32, or None"
        )
    if torso.shape[::2] != (frames, 2):
        raise InputError(f"the motion's torso has the shape {list(torso.shape)}", f"give [{frames}, G, 2]")
    if not np.isfinite(torso).all():
        raise InputError("the motion's torso holds NaN or infinity", "make the motion again")
    return np.ascontiguousarray(torso, np.float32)
