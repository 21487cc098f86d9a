"""What each difference between the supplement, the authors' code and m3ray moves: the figures of docs/differences.md.

Correlations between two variants of a feature, on frames of videos, on the golden similarity data and on a made set of
clusters; what losses and reported epochs move on a made study; optical flow of one motion at several rates. Variants of
the authors' are computed here from what their code does, none of it is copied.

    python benchmarks/differences.py [--videos FOLDER] [--only raw flow similarity training]
"""

from __future__ import annotations

import argparse
import io
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.decomposition import PCA

from m3ray.config import DecodeConfig, LimitsConfig, RawConfig, TrainConfig
from m3ray.config.presets import authors_videomem_training, memento10k_training
from m3ray.similarity import MEASURES
from m3ray.tiers import average_windows, fit_hog_projection
from m3ray.tiers.base import iter_clip_windows
from m3ray.tiers.hog import LENGTH
from m3ray.tiers.raw import blurriness, brightness, contrast, luma
from m3ray.tiers.raw_tier import RawTier
from m3ray.training.stacked import train_runs
from m3ray.training.tails import span_tail_weights
from m3ray.video.encode import encode_clip
from m3ray.video.sandbox import Decoder

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "similarity.npz"
# Label, measure, and the settings of the authors' variant.
MEASURES_OF_AUTHORS = (
    ("1.a", "fractional_mean", {"of": "mean", "leave_one_out": False}),
    ("3.a", "cosine_mean", {"of": "mean", "leave_one_out": False}),
    ("3.b", "cosine_threshold", {"leave_one_out": False}),
    ("4.a, kernel", "kde", {"kernel": "epanechnikov"}),
    ("4.a, the clip itself", "kde", {"leave_one_out": False}),
)


def describe_pair(label: str, ours: np.ndarray, theirs: np.ndarray) -> str:
    return f"{label}: r {pearsonr(ours, theirs)[0]:.4f}, rho {spearmanr(ours, theirs).statistic:.4f}, n {len(ours)}"


def read_frames(path: Path, count: int = 6) -> list[np.ndarray]:
    """Read frames of a video, evenly spaced over its first 400, resized to 256x256."""
    with av.open(str(path)) as file:
        frames = [f.to_ndarray(format="rgb24") for f, _ in zip(file.decode(video=0), range(400), strict=False)]
    chosen = np.linspace(0, len(frames) - 1, count).astype(int)
    return [cv2.resize(frames[k], (256, 256), interpolation=cv2.INTER_AREA) for k in chosen]


def enlarged_blurriness(frame: np.ndarray, half: int = 60, width: int = 500) -> float:
    """The authors' blurriness: of the frame enlarged to 500 pixels, half width 60, natural logarithm."""
    gray = cv2.cvtColor(cv2.resize(frame, (width, width), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    plane, middle = np.fft.fftshift(np.fft.fft2(gray)), width // 2
    plane[middle - half : middle + half, middle - half : middle + half] = 0
    left = np.abs(np.fft.ifft2(np.fft.ifftshift(plane)))
    return float(np.mean(20 * np.log(np.maximum(left, 1e-8))))


def measure_frame(frame: np.ndarray) -> list[float]:
    rgb = torch.from_numpy(frame).permute(2, 0, 1)[None, None].float() / 255
    gray, eight_bits = luma(rgb), cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    first_row = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV_FULL)[0].mean()
    ours = [blurriness(gray, 30), blurriness(gray, 60), brightness(rgb), contrast(gray)]
    return [*map(float, ours), enlarged_blurriness(frame), float(first_row), float(eight_bits.std())]


def compare_raw(folder: str) -> None:
    paths, rows, sizes = (
        sorted(p for p in Path(folder).iterdir() if p.suffix in (".mp4", ".mkv", ".mov", ".webm")),
        [],
        [],
    )
    for path in paths:
        try:
            rows += [measure_frame(frame) for frame in read_frames(path)]
            sizes.append(rewrite_without_audio(path))
        except (av.FFmpegError, ValueError) as error:
            print(f"{path.name}: left out: {error}")
    blur30, blur60, bright, rms, blur_theirs, first_row, rms_theirs = np.array(rows).T
    print(describe_pair("blurriness 30 against the authors'", blur30, blur_theirs))
    print(describe_pair("blurriness 60 against the authors'", blur60, blur_theirs))
    print(describe_pair("brightness against the first row's", bright, first_row))
    print(describe_pair("contrast against that of 8 bits", rms, rms_theirs))
    stream, file = np.array(sizes, float).T
    print(describe_pair("bytes of the stream against a file's", stream, file), "more:", (file / stream - 1).round(4))


def rewrite_without_audio(path: Path) -> tuple[int, int]:
    """Bytes of a video's stream, and of a file with that stream alone."""
    out, total = io.BytesIO(), 0
    kind = "matroska" if path.suffix in (".mkv", ".webm") else "mp4"
    with av.open(str(path)) as source, av.open(out, "w", format=kind) as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                total += packet.size
                packet.stream = copy
                target.mux(packet)
    return total, len(out.getvalue())


def make_motion(frames: int) -> np.ndarray:
    """Make a smooth texture that moves by (2, 1) pixels a frame, (T, 256, 256, 3)."""
    noise = np.random.default_rng(1).integers(0, 256, (256, 256)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 2)
    texture = ((texture - texture.min()) / np.ptp(texture) * 255).astype(np.uint8)
    return np.repeat(np.stack([np.roll(texture, (k, 2 * k), (0, 1)) for k in range(frames)])[..., None], 3, axis=3)


def compare_flow() -> None:
    rng, motion = np.random.default_rng(0), make_motion(91)
    projection = fit_hog_projection(iter(rng.random((12, LENGTH)).astype(np.float32)))
    decoder = Decoder(DecodeConfig(), LimitsConfig())
    for fps in (5, 10, 15, 30):
        windows = [w for _, w in iter_clip_windows(decoder.windows(encode_clip(motion[:: 30 // fps], fps)))]
        values = {}
        for name, config in (("frame", RawConfig()), ("time", RawConfig(flow_fps=15.0))):
            tier = RawTier(config, projection)
            tier.setup(torch.device("cpu"))
            values[name] = float(average_windows(tier.compute(windows))["mean_optical_flow"])
        print(f"flow at {fps} frames a second: a frame {values['frame']:.3f}, a time {values['time']:.3f}")
    decoder.close()


def make_clusters(rng: np.random.Generator) -> Callable[[int], np.ndarray]:
    centres = 2 * rng.standard_normal((12, 40))
    return lambda count: centres[rng.integers(0, 12, count)] + rng.standard_t(5, (count, 40))


def compare_similarity() -> None:
    stored, draw = np.load(GOLDEN), make_clusters(np.random.default_rng(0))
    sets = {"golden": (stored["train"], stored["query"]), "made": (draw(2000), draw(500))}
    for name, vectors in sets.items():
        projection = PCA(10, whiten=True).fit(vectors[0])
        train, query = map(projection.transform, vectors)
        for label, measure, settings in MEASURES_OF_AUTHORS:
            ours, theirs = (MEASURES[measure](**chosen).fit(train, None) for chosen in ({}, settings))
            pairs = zip(ours.transform(query).T, theirs.transform(query).T, strict=True)
            rho = np.mean([spearmanr(a, b).statistic for a, b in pairs])
            means = [f"{m.transform_train().mean():.4g} of {m.transform(query).mean():.4g}" for m in (ours, theirs)]
            print(f"{name}, {label}: rho {rho:.4f}; mean of train clips {means[0]}, authors' {means[1]}")


def make_study(clips: int, val: int) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
    """Make clips whose score, of mean 0.8 and deviation 0.1, follows 100 columns."""
    rng, rows = np.random.default_rng(0), clips + val
    x = rng.standard_normal((rows, 100))
    signal = x @ rng.standard_normal(100) / 10 + 0.5 * np.tanh(x[:, 0] * x[:, 1]) + 0.3 * np.maximum(x[:, 2], 0) ** 2
    signal = (signal - signal.mean()) / signal.std() + 0.9 * rng.standard_normal(rows)
    signal = (signal - signal.mean()) / signal.std()
    scores = np.clip(0.8 + 0.1 * signal - 0.012 * (signal**2 - 1), 0, 1)
    features, target = (torch.tensor(values, dtype=torch.float32) for values in (x, scores))
    return (features[:clips], target[:clips]), (features[clips:], target[clips:])


def compare_training(runs: int = 8) -> None:
    base, (train, val) = TrainConfig(hidden=(64,)), make_study(3000, 1500)
    print("weights of the tails:", span_tail_weights(train[1].numpy(), memento10k_training()))
    settings = {
        "mse": base,
        "mse_tails, batch": replace(base, loss="mse_tails"),
        "mse_tails, data": replace(base, loss="mse_tails", tails_centre="data"),
        "spearman, 0.01": replace(base, loss="spearman"),
        "spearman, 1": replace(base, loss="spearman", strength=1.0),
        "mse_to_spearman, 0.01": replace(base, loss="mse_to_spearman"),
        "mse_to_spearman, 1": replace(base, loss="mse_to_spearman", strength=1.0),
        "authors' VideoMem": replace(authors_videomem_training(), hidden=(64,), report="last"),
    }
    for name, config in settings.items():
        describe_training(name, train, val, config, runs)
    order = torch.randperm(len(train[1]), generator=torch.Generator().manual_seed(0))
    describe_training("scores of other clips", (train[0], train[1][order]), val, base, runs)


def describe_training(
    name: str,
    train: tuple[torch.Tensor, torch.Tensor],
    val: tuple[torch.Tensor, torch.Tensor],
    config: TrainConfig,
    runs: int,
) -> None:
    rho = (trained := train_runs(train, val, config, range(runs))).metrics["spearman"]
    last, best, mse = rho[:, -1], rho.max(axis=1), trained.metrics["mse"][:, -1]
    print(
        f"{name}: rho {last.mean():.4f} (sd {last.std(ddof=1):.4f}), best epoch {best.mean():.4f} (epoch "
        f"{rho.argmax(axis=1).mean() + 1:.1f}), mse {mse.mean():.5f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", help="folder of videos; without one, raw features are left out")
    parser.add_argument("--only", nargs="+", default=["raw", "flow", "similarity", "training"])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # whitened vectors whose mean has no direction, which is what is shown
    if "raw" in arguments.only and arguments.videos:
        compare_raw(arguments.videos)
    for name, compare in {"flow": compare_flow, "similarity": compare_similarity, "training": compare_training}.items():
        if name in arguments.only:
            compare()


if __name__ == "__main__":
    main()
