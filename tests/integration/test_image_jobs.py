"""Images and videos of one folder through a whole study to a bundle, which then scores images that it never saw."""

import numpy as np
import pandas as pd
import pytest
from drawn import pictures
from image_files import corners, encoded_image

from m3ray.config.options import PredictOptions, ReproduceOptions
from m3ray.video.encode import encode_clip

pytestmark = pytest.mark.integration
IMAGES, VIDEOS = 60, 12
KINDS = (("a b#%41.jpg", "JPEG"), ("b.png", "PNG"), ("c.webp", "WEBP"), ("d.bmp", "BMP"))


def write_clips(folder):
    """Images of many kinds and videos, and a table with made-up scores: the brighter, the better remembered."""
    rng, rows = np.random.default_rng(0), []
    (folder / "sub folder").mkdir(parents=True)
    for number in range(IMAGES):
        level = rng.uniform(0.2, 1)
        ending, kind = KINDS[number % len(KINDS)]
        name = f"sub folder/{number:03d}{ending}"
        (folder / name).write_bytes(encoded_image((corners(64, 48) * level).astype(np.uint8), kind))
        rows.append((name, 0.4 + 0.5 * level))
    for number in range(VIDEOS):
        frames = pictures(4, seed=number)
        (folder / f"{number}.mp4").write_bytes(encode_clip(frames, 4))
        rows.append((f"{number}.mp4", rng.uniform(0.4, 0.9)))
    pd.DataFrame(rows, columns=["uri", "score"]).to_csv(folder / "clips.csv", index=False)


@pytest.fixture(scope="module")
def mixed(jobs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    write_clips(folder / "clips")
    options = ReproduceOptions(
        out=str(folder / "out"),
        dataset="table",
        root=str(folder / "clips" / "clips.csv"),
        tiers=("raw", "torchvision:resnet18"),
        weights="untrained",
        tables=(3,),
        runs=2,
        epochs=3,
        fps=2,
        fit="paper",
        model="mlp",
        measure="fractional_mean",
    )
    jobs.reproduce(options)
    return folder


def test_images_and_videos_go_through_a_study_to_a_bundle(mixed):
    out = mixed / "out"
    assert not (out / "rejects").exists()
    catalogue = pd.read_parquet(out / "catalogue.parquet").set_index("clip_id")
    images = catalogue[catalogue["container"].isin(["jpeg", "png", "webp", "bmp"])]
    assert (len(images), len(catalogue)) == (IMAGES, IMAGES + VIDEOS)
    assert (images[["frames", "sampled"]] == 1).all(axis=None)
    assert (images["duration"] == 0).all()
    (folder,) = (out / "features").glob("raw-*")
    raw = pd.read_parquet(folder).set_index("clip_id")
    assert (raw.loc[images.index, "mean_optical_flow"] == 0).all()
    sizes = [(mixed / "clips" / name).stat().st_size for name in images.index]
    assert raw.loc[images.index, "size_bytes"].tolist() == sizes
    trials = pd.read_parquet(out / "study" / "ablation" / "trials.parquet")
    assert len(trials) >= 2
    assert np.isfinite(trials.set_index("variant").loc["M3-S", "spearman"])
    assert (out / "models" / "m3s" / "bundle.json").is_file()
    assert len(pd.read_parquet(out / "predictions.parquet")) == IMAGES + VIDEOS


def test_new_images_are_scored_over_time_too_and_a_damaged_one_is_a_reject(jobs, mixed, tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    (new / "good.jpg").write_bytes(encoded_image(corners(), "JPEG"))
    (new / "cut.jpg").write_bytes(encoded_image(corners(), "JPEG")[:-300])
    out = tmp_path / "scores"
    bundle = str(mixed / "out" / "models" / "m3s")
    jobs.predict(PredictOptions(out=str(out), bundle=bundle, root=str(new), over_time=True, max_rejects="1"))
    (file,) = out.glob("**/predictions.parquet")
    scores = pd.read_parquet(file).set_index("clip_id")
    assert np.isfinite(scores.loc["good.jpg", "score"])
    assert len(scores.loc["good.jpg", "times"]) == len(scores.loc["good.jpg", "curve"]) == 1, "one point"
    (rejects,) = out.glob("**/rejects")
    assert pd.read_parquet(rejects).set_index("clip_id")["error"].to_dict() == {"cut.jpg": "truncated"}
