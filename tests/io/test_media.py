"""The guarded door: what is not whole, ordinary media is refused in one sentence, before it can do harm."""

from __future__ import annotations

import os
import struct
import subprocess
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from geneface.errors import InputError
from geneface.io.audio import read_audio
from geneface.io.image import read_image, write_png
from geneface.io.media import open_media, probe
from geneface.io.video import read_frames


def read_all(path: Path) -> None:
    read_audio(path)
    for _ in read_frames(path):
        pass


def refuse(path: Path, *words: str) -> InputError:
    """Every reader must refuse the file with one sentence that names it and a remedy."""
    for reader in (read_all, probe, read_audio, lambda p: list(read_frames(p))):
        with pytest.raises(InputError) as caught:
            reader(path)
        text = str(caught.value)
        assert str(path) in text and caught.value.remedy and "\n" not in text
        for word in words:
            assert word in text
    return caught.value


def noise_images(count: int = 25) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return list(generator.integers(0, 255, (count, 64, 96, 3), dtype=np.uint8))


def test_missing_file(tmp_path) -> None:
    refuse(tmp_path / "none.mp4", "does not exist")


def test_folder(tmp_path) -> None:
    refuse(tmp_path, "folder")


def test_empty_file(tmp_path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    refuse(path, "empty")


def test_text_named_mp4(tmp_path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("This is no video.\n" * 50)
    refuse(path, "text")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipe_is_not_waited_for(tmp_path) -> None:
    path = tmp_path / "pipe.mp4"
    os.mkfifo(path)
    refuse(path, "not a regular file")


PLAYLISTS = {
    "hls.mp4": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{}\n#EXT-X-ENDLIST\n",
    "concat.mp4": "ffconcat version 1.0\nfile {}\n",
    "dash.mp4": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{}</BaseURL></MPD>\n',
    "plain.m3u8": "#EXTM3U\n{}\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_playlists_are_refused_though_they_point_to_real_media(make_media, tmp_path, tone, name) -> None:
    target = make_media("target.ts", images=noise_images(), samples=tone, video_codec="mpeg2video")
    path = tmp_path / name
    path.write_text(PLAYLISTS[name].format(target.name))
    refuse(path, "playlist")


def test_image_sequence_and_devices_are_refused(tmp_path) -> None:
    refuse(tmp_path / "frame_%03d.png", "does not exist")
    for name in ("concat:a.mp4|b.mp4", "http://localhost/a.mp4", "testsrc=size=64x64"):
        with pytest.raises(InputError, match="does not exist"):
            probe(name)


def test_name_that_looks_like_a_protocol_is_read_as_a_file(make_media, tone) -> None:
    path = make_media("plain.wav", samples=tone, audio_codec="pcm_s16le")
    odd = path.with_name("concat:plain.wav")
    path.rename(odd)
    assert read_audio(odd).duration_seconds == pytest.approx(1.0, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name,codec,pix_fmt,size", [("bomb.mp4", "libx264", "yuv420p", 8192), ("bomb.mkv", "ffv1", "gray", 3600)]
)
def test_huge_pictures_are_refused_before_decoding(tmp_path, name, codec, pix_fmt, size) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"preset": "ultrafast"} if codec == "libx264" else {})
        stream.width = stream.height = size
        stream.pix_fmt = pix_fmt
        container.mux(stream.encode(av.VideoFrame(size, size, pix_fmt)))
        container.mux(stream.encode(None))
    for reader in (probe, lambda p: list(read_frames(p)), read_audio):
        with pytest.raises(InputError, match="4096x2304"):
            reader(path)


def test_lying_header_is_caught_by_the_decoder(tmp_path) -> None:
    """The container says 64x64, the PNG inside unpacks to 12000x12000."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(12_001 * 100)))
    path = tmp_path / "liar.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "rgb24"
        for i in range(20):
            packet = av.Packet(png)
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, i, i, True
            packet.time_base = Fraction(1, 25)
            container.mux(packet)
    with pytest.raises(InputError):
        list(read_frames(path))
    image = tmp_path / "bomb.png"
    image.write_bytes(png)
    with pytest.raises(InputError, match="4096x2304"):
        read_image(image)


def test_too_many_streams(tmp_path) -> None:
    path = tmp_path / "many.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=8000, layout="mono") for _ in range(40)]
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
            frame.sample_rate = 8000
            container.mux(stream.encode(frame))
    refuse(path, "40 streams")


def test_duration_cap(make_media) -> None:
    path = make_media("slow.mkv", images=noise_images(3), times=[0.0, 1.0, 20_000.0])
    with pytest.raises(InputError, match="hours"):
        list(read_frames(path))


TRUNCATED = ["end.mp4", "front.mp4", "cut.mkv", "cut.avi", "cut.mov"]


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUNCATED)
@pytest.mark.parametrize("share", [0.5, 0.85])
def test_truncated_file(make_media, tmp_path, tone, name, share) -> None:
    whole = make_media(name, images=noise_images(75), samples=np.tile(tone, 3), video_codec="mpeg4")
    if name == "front.mp4":
        moved = tmp_path / "moved.mp4"
        with av.open(str(whole)) as source, av.open(str(moved), "w", options={"movflags": "faststart"}) as target:
            streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    target.mux(packet)
        whole = moved
    path = tmp_path / f"half-{name}"
    data = whole.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="cut off") as caught:
        list(read_frames(path))
    assert caught.value.remedy
    if name == "front.mp4":
        assert "at " in caught.value.where


def test_truncated_wav_and_flac(make_media, tone) -> None:
    for name, codec in (("a.wav", "pcm_s16le"), ("a.flac", "flac")):
        path = make_media(name, samples=np.tile(tone, 3), audio_codec=codec)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(InputError, match="cut off"):
            read_audio(path)


def test_one_damaged_spot_is_survived(make_media) -> None:
    path = make_media("scratch.ts", images=noise_images(50), video_codec="mpeg2video")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(300)
    path.write_bytes(bytes(data))
    assert len(list(read_frames(path))) == 50


def test_cover_art_is_not_a_video(tmp_path, make_media, tone, ffmpeg) -> None:
    sound = make_media("song.mp3", samples=tone, audio_codec="libmp3lame")
    write_png(tmp_path / "cover.png", np.zeros((32, 32, 3), np.uint8))
    path = tmp_path / "covered.mp3"
    command = [ffmpeg, "-v", "error", "-i", str(sound), "-i", str(tmp_path / "cover.png"), "-map", "0", "-map", "1"]
    subprocess.run([*command, "-c", "copy", str(path)], check=True)
    info = probe(path)
    assert info.video is None and info.audio is not None
    assert read_audio(path).start_seconds == 0


def test_container_is_closed_after_use(make_media, tone) -> None:
    path = make_media("a.wav", samples=tone, audio_codec="pcm_s16le")
    with open_media(path) as container:
        assert container.streams.audio
    with pytest.raises((AssertionError, ValueError, RuntimeError)):
        next(container.demux())
