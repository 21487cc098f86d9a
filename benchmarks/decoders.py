"""Decoders: speed and correctness of PyAV and decord on one core, and the overhead of m3ray over bare PyAV.

Speed: clips of a moving texture, 30 frames a second, of which every second frame is taken and resized, as at 15 frames
a second. PyAV is read in order; decord in order (`next`) and by sorted positions (`get_batch`), which seeks.
Correctness: the tests' grey ramps, in which a frame's level is its number. Then CPU seconds a clip of m3ray's decoder,
its child process included, against a plain loop over PyAV that takes the same frames, on clips of 3 and of 60 seconds
at bit rates as clips come in.

    python benchmarks/decoders.py [--seconds 4] [--rounds 3] [--cost-only]
"""

from __future__ import annotations

import argparse
import io
import itertools
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import psutil
from av.video.reformatter import VideoReformatter

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from ramp_matrix import RAMPS
from ramps import SECOND, Ramp, Recipe, numbers_of, write_pictures

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.video.sampling import resize
from m3ray.video.sandbox import Decoder

EVERY, SIDE, BATCH = 2, 256, 16
GOAL = 1.15
SIZES = [(320, 240), (1280, 720)]
BITS = {(320, 240): 600_000, (1280, 720): 3_000_000}  # a second
# At the quality that clips come in, with B-frames where the codec has them.
CODECS = {
    "h264": Recipe("mp4", "libx264", b_frames=2, gop=60, encoder={"qp": "26"}),
    "hevc": Recipe("mp4", "libx265", b_frames=2, gop=60, encoder={"x265-params": "qp=28:log-level=none"}),
    "mpeg4": Recipe("avi", "mpeg4", gop=60, encoder={"global_quality": str(5 * 118)}),
    "mpeg2video": Recipe("matroska", "mpeg2video", b_frames=2, encoder={"global_quality": str(5 * 118)}),
    "vp8": Recipe("webm", "libvpx", gop=60, encoder={"crf": "20", "qmax": "40", "deadline": "realtime"}),
    "vp9": Recipe(
        "webm", "libvpx-vp9", gop=60, encoder={"crf": "34", "qmax": "50", "cpu-used": "8", "deadline": "realtime"}
    ),
    "mjpeg": Recipe("avi", "mjpeg", pixels="yuvj420p", encoder={"global_quality": str(5 * 118)}),
}


def moving_texture(size: tuple[int, int], frames: int) -> list[np.ndarray]:
    """Make pictures of a smooth texture that drifts, with a little noise: uint8 (H, W, 3) each."""
    width, height = size
    rng = np.random.default_rng(0)
    base = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3)).astype(np.float32), (0, 0), 6)
    base = (base - base.min()) / np.ptp(base) * 235
    noise = rng.normal(0, 3, (height, width, 3))
    moved = (np.roll(base, (k, 2 * k), (0, 1)) + np.roll(noise, 7 * k, 1) for k in range(frames))
    return [picture.clip(0, 255).astype(np.uint8) for picture in moved]


def make_clip(recipe: Recipe, size: tuple[int, int], seconds: float) -> bytes:
    pictures = moving_texture(size, round(30 * seconds))
    return write_pictures(replace(recipe, size=size), pictures, [SECOND / 30] * len(pictures))


# Three readers: each yields every n-th picture, uint8 (H, W, 3).


def pyav_in_order(data: bytes, every: int) -> Iterator[np.ndarray]:
    to_rgb = make_converter()
    with av.open(io.BytesIO(data)) as file:
        yield from map(to_rgb, itertools.islice(decode_frames(file), 0, None, every))


def decode_frames(file: Any) -> Iterator[Any]:
    stream = file.streams.video[0]
    stream.thread_type, stream.codec_context.thread_count = "NONE", 1
    return file.decode(stream)


def make_converter() -> Callable[[Any], np.ndarray]:
    """Make a conversion of frames to RGB that keeps its buffers, which a frame's own `to_ndarray` makes anew."""
    reformatter = VideoReformatter()
    return lambda frame: reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()


def decord_in_order(data: bytes, every: int) -> Iterator[np.ndarray]:
    reader = _decord_reader(data)
    for position in itertools.count():
        try:
            frame = reader.next()
        except StopIteration:
            return
        if position % every == 0:
            yield frame.asnumpy()


def decord_by_position(data: bytes, every: int) -> Iterator[np.ndarray]:
    reader = _decord_reader(data)
    positions = range(0, len(reader), every)
    for start in range(0, len(positions), BATCH):
        yield from reader.get_batch(list(positions[start : start + BATCH])).asnumpy()


def _decord_reader(data: bytes) -> Any:
    import decord  # not earlier: some platforms have no wheel of it

    return decord.VideoReader(io.BytesIO(data), num_threads=1)


READERS = {"PyAV": pyav_in_order, "decord, next": decord_in_order, "decord, get_batch": decord_by_position}


def measure_speed(name: str, data: bytes, rounds: int) -> float:
    """Measure frames of the clip a CPU second, the best of the rounds."""
    cv2.setNumThreads(1)
    spent = []
    for _ in range(rounds):
        start, taken = time.process_time(), 0
        for picture in READERS[name](data, EVERY):
            resize(picture, SIDE)
            taken += 1
        spent.append(time.process_time() - start)
    return taken * EVERY / min(spent)


def is_correct(name: str, ramp: Ramp) -> bool:
    """Whether a reader gives a ramp's shown frames: all of them, and every second one."""
    return all(_numbers(name, ramp.data, every) == list(ramp.frames[::every]) for every in (1, EVERY))


def _numbers(name: str, data: bytes, every: int) -> list[int] | None:
    try:
        return [round(number) for number in numbers_of(np.stack(list(READERS[name](data, every))))]
    except Exception:  # decord raises types of its own, some of them straight from C++
        return None


def count_correct(pool: Pool) -> dict[tuple[str, str], dict[str, list[bool]]]:
    """Container and codec, then reader, to whether each ramp was read correctly."""
    correct: dict[tuple[str, str], dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    makers: Any = RAMPS.values()
    for ramp in (make() for make in makers):
        for name in READERS:
            correct[kind_of(ramp.data)][name].append(pool.apply(is_correct, (name, ramp)))
    return correct


def kind_of(data: bytes) -> tuple[str, str]:
    with av.open(io.BytesIO(data)) as file:
        return file.format.name.split(",")[0], str(file.streams.video[0].codec_context.codec.canonical_name)


# m3ray's decoder against the bare one, which decodes all frames, and converts and resizes those shown at k / fps: no
# extractor can do less.


def make_noisy_clip(size: tuple[int, int], seconds: int, bits: int) -> bytes:
    """Make a clip of a texture that drifts under noise that changes, of so many bits a second."""
    width, height = size
    rng, buffer = np.random.default_rng(0), io.BytesIO()
    base = moving_texture(size, 1)[0]
    grain = [rng.integers(0, 10, (height, width, 1), np.uint8).repeat(3, axis=2) for _ in range(7)]
    with av.open(buffer, mode="w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=30, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", bits
        for k in range(30 * seconds):
            picture = cv2.add(np.roll(base, (k, 2 * k), (0, 1)), np.roll(grain[k % 7], 11 * k, 0))
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    return buffer.getvalue()


def measure_bare(data: bytes, fps: float, clips: int, to_rgb: Callable[[Any], np.ndarray]) -> float:
    start = time.process_time()
    for _ in range(clips):
        due = 0
        with av.open(io.BytesIO(data)) as file:
            for frame in decode_frames(file):
                if frame.time >= due / fps - 1e-3:
                    touch(resize(to_rgb(frame), SIDE))
                    due += 1
    return (time.process_time() - start) / clips


def touch(frames: np.ndarray) -> int:
    """Read a byte of each page, so that frames that are there in name alone cost what they cost whoever reads them."""
    return int(frames.reshape(-1)[::4096].sum())


def measure_ours(decoder: Decoder, data: bytes, clips: int) -> float:
    """Measure CPU seconds a clip, of this process and of the decoding child."""
    # A version from before there was a single pass is measured as it was used.
    windows: Any = getattr(decoder, "windows_in_one_pass", decoder.windows)
    processes = [psutil.Process(), *psutil.Process().children()]
    start = _cpu_seconds(processes)
    for _ in range(clips):
        for window in windows(data):
            touch(window[-1])
    return (_cpu_seconds(processes) - start) / clips


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def compare_with_bare(clip: bytes, clips: int, rounds: int) -> tuple[float, float]:
    """Measure CPU seconds a clip: ours, and bare with a conversion that keeps its buffers; the median of the rounds."""
    config = DecodeConfig()
    decoder = Decoder(config, LimitsConfig(), "pyav")
    measure_ours(decoder, clip, 1)  # starts the child
    peer = make_converter()
    found = [(measure_ours(decoder, clip, clips), measure_bare(clip, config.fps, clips, peer)) for _ in range(rounds)]
    decoder.close()
    ours, bare = map(statistics.median, zip(*found, strict=True))
    return ours, bare


def print_costs(rounds: int) -> None:
    print(f"\nCPU seconds a clip, 15 frames a second of 30, child process included (goal: at most {GOAL})\n")
    print_row("size", "seconds", "m3ray", "bare PyAV", "m3ray / bare", head=True)
    for (width, height), bits in BITS.items():
        for seconds in (3, 60):
            clip = make_noisy_clip((width, height), seconds, bits)
            ours, bare = compare_with_bare(clip, 1 if seconds > 3 else max(2, 6_000_000 // bits), rounds)
            print_row(f"{width}x{height}", seconds, f"{ours:.4f}", f"{bare:.4f}", f"{ours / bare:.2f}")


def print_row(*cells: object, head: bool = False) -> None:
    print("| " + " | ".join(map(str, cells)) + " |" + ("\n" + "|---" * len(cells) + "|" if head else ""), flush=True)


def print_speeds(pool: Pool, clips: dict[tuple[str, tuple[int, int]], bytes], args: argparse.Namespace) -> None:
    print(f"\nFrames a second, clips of {args.seconds:g} s\n")
    print_row("codec", "size", *READERS, "PyAV / decord's better", head=True)
    for (codec, (width, height)), clip in clips.items():
        speeds = [pool.apply(measure_speed, (reader, clip, args.rounds)) for reader in READERS]
        ratio = speeds[0] / max(speeds[1:])
        print_row(codec, f"{width}x{height}", *(f"{speed:.0f}" for speed in speeds), f"{ratio:.2f}")


def print_correct(pool: Pool) -> None:
    print(f"\nRamps whose shown frames were right, of {len(RAMPS)}\n")
    print_row("container", "codec", "ramps", *READERS, head=True)
    for (container, codec), right in sorted(count_correct(pool).items()):
        print_row(container, codec, len(right["PyAV"]), *(sum(right[reader]) for reader in READERS))


def print_peers(args: argparse.Namespace) -> None:
    clips = {(codec, size): make_clip(CODECS[codec], size, args.seconds) for codec in CODECS for size in SIZES}
    # decord's old native libraries get a process that neither writes clips nor is measured for m3ray.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print_speeds(pool, clips, args)
        print_correct(pool)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cost-only", action="store_true")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    processor = platform.processor() or platform.machine()
    print(f"{processor}, one core of {os.cpu_count()}, PyAV {av.__version__}, {date.today()}")
    if not args.cost_only:
        print_peers(args)
    print_costs(args.rounds)


if __name__ == "__main__":
    main()
