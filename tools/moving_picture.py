"""A video as an animated WebP without sound, for pages that play no video.

    make demo && .venv-demo/bin/python tools/moving_picture.py demo.mp4 -o docs/images/demo.webp

Every second frame is kept. Needs PyAV with libwebp, which its wheels have.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from typing import Any

import av


def write_webp(video: Path, out: Path, seconds: float, quality: int) -> int:
    """Write the first `seconds` of a video as an endless animated WebP; returns its bytes.

    Args:
        quality: libwebp's, 0 to 100.
    """
    with av.open(str(video)) as source, av.open(str(out), "w", format="webp", options={"loop": "0"}) as target:
        pictures = source.streams.video[0]
        rate = pictures.average_rate or Fraction(25)
        stream: Any = target.add_stream("libwebp_anim", rate=rate / 2)
        stream.width, stream.height, stream.pix_fmt = pictures.width, pictures.height, "yuv420p"
        stream.options = {"quality": str(quality), "compression_level": "6"}
        for index, frame in enumerate(source.decode(pictures)):
            if index >= seconds * rate:
                break
            if index % 2 == 0:
                # What WebP means by YUV: BT.601, limited range.
                kept = frame.reformat(format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG")
                kept.pts, kept.time_base = index // 2, 2 / rate
                target.mux(stream.encode(kept))
        target.mux(stream.encode(None))
    return out.stat().st_size


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--quality", type=int, default=70)
    wanted = parser.parse_args()
    print(f"{wanted.out}: {write_webp(wanted.video, wanted.out, wanted.seconds, wanted.quality)} bytes")


if __name__ == "__main__":
    main()
