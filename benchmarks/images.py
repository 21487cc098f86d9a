"""Images a second, decoded in the child process and handed over, against Pillow and OpenCV in a loop in one process.

python benchmarks/images.py [--images 1000]
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import date

import cv2
import numpy as np
from PIL import Image, __version__

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.video.sandbox import Decoder

SIZES = ((256, 256), (640, 480), (4000, 3000))
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000, help="small images of each round")
    count = parser.parse_args().images
    cv2.setNumThreads(1)
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Pillow {__version__}, {date.today()}")
    print("| JPEG | bytes | m3ray, images a second of CPU | loop | cost ratio (CPU) | time ratio |")
    print("|---|---|---|---|---|---|")
    for width, height in SIZES:
        data = make_jpeg(width, height)
        images = [data] * (count if width < 1000 else max(3, count // 100))
        ours, plain = measure(images)
        print(
            f"| {width}x{height} | {len(data)} | {len(images) / ours[0]:.0f} | {len(images) / plain[0]:.0f} "
            f"| {ours[0] / plain[0]:.2f} | {ours[1] / plain[1]:.2f} |"
        )


def make_jpeg(width: int, height: int) -> bytes:
    """A photograph's kind of picture: smooth, with some noise."""
    small = np.random.default_rng(0).integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), np.uint8)
    picture = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def measure(images: Sequence[bytes]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Median seconds of CPU and of time: m3ray's, the loop's."""
    decoder = Decoder(DecodeConfig(), LimitsConfig())
    list(decoder.windows(images[0]))  # the child has started
    assert decoder._child is not None
    child = decoder._child.pid
    rounds = [(timed(lambda: decode_all(decoder, images), child), timed(lambda: loop(images), child))
              for _ in range(ROUNDS)]  # fmt: skip
    decoder.close()
    ours, plain = zip(*rounds, strict=True)
    return median(ours), median(plain)


def median(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(cpu for cpu, _ in pairs), statistics.median(wall for _, wall in pairs)


def timed(work: Callable[[], None], child: int) -> tuple[float, float]:
    """Seconds of CPU of this process and of the child, and seconds of time."""
    cpu, wall = cpu_seconds(child), time.perf_counter()
    work()
    return cpu_seconds(child) - cpu, time.perf_counter() - wall


def cpu_seconds(child: int) -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    with open(f"/proc/{child}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return own.ru_utime + own.ru_stime + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def decode_all(decoder: Decoder, images: Sequence[bytes]) -> None:
    for data in images:
        for _, frames in decoder.windows(data):
            assert frames.shape == (1, 256, 256, 3)


def loop(images: Sequence[bytes]) -> None:
    for data in images:
        with Image.open(io.BytesIO(data)) as image:
            picture = np.asarray(image.convert("RGB"))
        frame = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA)
        assert frame.shape == (256, 256, 3)


if __name__ == "__main__":
    main()
