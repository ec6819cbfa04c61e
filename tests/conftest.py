"""Small synthetic media for every area's tests, written by PyAV alone: nothing here uses the package's own writers."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

MakeMedia = Callable[..., Path]
TESTS = Path(__file__).parent


class ModuleOfTests(pytest.Module):
    """A module that is skipped where the package of an extra is missing that it imports itself, not through ours."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        try:
            return super().collect()
        except self.CollectError as error:
            cause = error.__cause__
            if not isinstance(cause, ModuleNotFoundError):
                raise
            frames = [f for f in traceback.extract_tb(cause.__traceback__) if "importlib" not in f.filename]
            # Were it the package that asks for more than its core has, that would be its fault.
            if TESTS not in Path(frames[-1].filename).parents or (cause.name or "").startswith("geneface"):
                raise
            pytest.skip(f"needs {cause.name}, of an extra", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    return ModuleOfTests.from_parent(parent, path=module_path)


def _encode_pictures(
    container: Any, stream: Any, images: Iterable[np.ndarray], times: list[Fraction], full_range: bool
) -> None:
    for image, time in zip(images, times, strict=True):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = frame.reformat(
            format=stream.codec_context.pix_fmt,
            dst_colorspace={1: "ITU709"}.get(stream.codec_context.colorspace, "ITU601"),
            src_color_range="JPEG",
            dst_color_range="JPEG" if full_range else "MPEG",
        )
        frame.time_base = Fraction(1, 90_000)
        frame.pts = round(time * 90_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


@pytest.fixture
def make_media(tmp_path: Path) -> MakeMedia:
    """Factory of media files: make_media(name, images=..., samples=..., ...) -> path.

    images: list of uint8 [H, W, 3]; rate: pictures a second; times: seconds of each picture instead of a rate;
    samples: float32 [T] or [T, C] at sample_rate; audio_start: its first sample's time; rotation: degrees
    counterclockwise to show it upright; matrix: H.273 number to tag and to convert with (1 or 6), 2 is untagged.
    """

    def make(
        name: str,
        images: list[np.ndarray] | None = None,
        rate: Fraction | int = 25,
        times: list[float] | None = None,
        samples: np.ndarray | None = None,
        sample_rate: int = 16_000,
        audio_start: float = 0.0,
        video_codec: str = "libx264",
        audio_codec: str = "aac",
        pix_fmt: str = "yuv420p",
        options: dict[str, str] | None = None,
        rotation: int = 0,
        matrix: int = 2,
        full_range: bool = False,
        shift: float = 0.0,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            video: Any = None
            audio: Any = None
            if images is not None:
                video = container.add_stream(video_codec, rate=Fraction(rate), options=options or {})
                context = video.codec_context
                context.height, context.width = images[0].shape[:2]
                context.pix_fmt = pix_fmt
                context.time_base = Fraction(1, 90_000) if times else 1 / Fraction(rate)
                context.colorspace = matrix
                if full_range:
                    context.color_range = 2
                if rotation:
                    video.set_display_rotation(rotation)
            if samples is not None:
                samples = samples.reshape(len(samples), -1).astype(np.float32)
                layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[samples.shape[1]]
                audio = container.add_stream(audio_codec, rate=sample_rate, layout=layout)
                # The encoder's default search spoils pure tones.
                audio.codec_context.options = {"aac_coder": "fast"} if audio_codec == "aac" else {}
            if audio is not None and samples is not None:
                for begin in range(0, len(samples), 1024):
                    block = samples[begin : begin + 1024]
                    # Packed: PyAV's access to eight planes and more is broken.
                    frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="flt", layout=layout)
                    frame.sample_rate, frame.time_base = sample_rate, Fraction(1, sample_rate)
                    frame.pts = begin + round((audio_start + shift) * sample_rate)
                    container.mux(audio.encode(frame))
                container.mux(audio.encode(None))
            if video is not None and images is not None:
                stamps = [Fraction(t) for t in times] if times else [i / Fraction(rate) for i in range(len(images))]
                _encode_pictures(container, video, images, [t + Fraction(shift) for t in stamps], full_range)
        return path

    return make


@pytest.fixture
def make_wav(tmp_path: Path) -> MakeMedia:
    """Factory of WAV files: make_wav(name, samples [T] or [T, C], rate, subtype) -> path."""

    def make(name: str, samples: np.ndarray, rate: int = 16_000, subtype: str = "FLOAT") -> Path:
        path = tmp_path / name
        soundfile.write(path, samples, rate, subtype=subtype, format="WAV")
        return path

    return make


@pytest.fixture
def ffmpeg() -> str:
    """Path of the ffmpeg binary, an independent second opinion; the test is skipped where there is none."""
    binary = shutil.which("ffmpeg")
    if binary is None:
        pytest.skip("no ffmpeg binary on this machine")
    return binary


@pytest.fixture
def tone() -> np.ndarray:
    """One second of a 440 Hz tone at 16 kHz, half of full scale."""
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.float32)
