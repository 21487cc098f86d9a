"""Networks through the whole job: weight files a user names, and torchvision's models beside the paper's."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from recipes import GOLDEN, fill

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.config.options import ExtractOptions, PredictOptions, TrainOptions
from m3ray.errors import WeightsError
from m3ray.tiers.backbones import hrnetv2_w48, ip_csn_152, sha256_of
from m3ray.video.encode import encode_clip
from m3ray.video.sandbox import Decoder

pytestmark = pytest.mark.integration
# The published normalisations, README of each publisher's code; not taken from ours.
SCENE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EVENT = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (9, 6, 8, 3), dtype=np.uint8)
        (folder / f"{number}.mp4").write_bytes(encode_clip(pixels.repeat(16, axis=1).repeat(16, axis=2), 10))
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Weight files with every published key, filled by the recipe; one wrapped and one prefixed, as such files come."""
    folder = tmp_path_factory.mktemp("weights")
    states = {
        name: fill({k: torch.zeros(s) for k, s in json.loads((GOLDEN / f"{name}.keys.json").read_text()).items()})
        for name in ("hrnetv2_w48", "ip_csn_152")
    }
    assert any(key.startswith("fc.") for key in states["ip_csn_152"])
    torch.save({"state_dict": {f"module.{k}": v for k, v in states["hrnetv2_w48"].items()}}, folder / "scene.pth")
    torch.save({"model": states["ip_csn_152"], "epoch": 1}, folder / "event.pth")
    listed = {
        "scene": "scene.pth",
        "event": {"path": "event.pth", "sha256": sha256_of(folder / "event.pth")},
    }
    (folder / "weights.json").write_text(json.dumps(listed))
    return folder


def reference(network, pixels, mean, std):
    """The plain network in float64 on frames (.., H, W, 3), normalised by hand."""
    network = network.double().eval()
    network.load_state_dict(fill(network.state_dict()))
    normalised = (pixels / 255.0 - np.array(mean)) / np.array(std)
    with torch.inference_mode():
        return network(torch.from_numpy(np.moveaxis(normalised, -1, 0))[None])[0].numpy()


def test_features_of_named_weights_are_the_plain_network_s(jobs, videos, published, tmp_path):
    out = tmp_path / "out"
    weights = str(published / "weights.json")
    options = ExtractOptions(
        out=str(out), dataset="folder", root=str(videos), tiers=("scene", "event"), weights=weights, fps=10.0
    )
    jobs.extract(options)
    catalogue = pd.read_parquet(out / "catalogue.parquet")
    row = catalogue[catalogue["uri"].str.endswith("1.mp4")].iloc[0]
    decoder = Decoder(DecodeConfig(fps=10.0), LimitsConfig())
    ((_, frames),) = decoder.windows((videos / "1.mp4").read_bytes())
    frames = np.array(frames)
    decoder.close()
    assert frames.shape == (9, 256, 256, 3)
    expected = {
        "scene": reference(hrnetv2_w48(), frames[0], *SCENE),
        "event": reference(ip_csn_152(), frames, *EVENT),
    }
    for tier, features in expected.items():
        (folder,) = (out / "features").glob(f"{tier}-*")
        computed = pd.read_parquet(folder).set_index("clip_id").loc[row["clip_id"], tier]
        bound = 1e-5 if "float32" in (out / "artifacts" / "tiers.json").read_text() else 2e-2
        assert np.linalg.norm(computed - features) / np.linalg.norm(features) < bound
    identity = json.loads((out / "artifacts" / "tiers.json").read_text())["event"]["identity"]
    assert identity["weights"] == {"sha256": sha256_of(published / "event.pth")}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:100_000]), "damaged, cut short"),
        (lambda path: path.write_bytes(b"<!doctype html><title>404"), "damaged, cut short"),
        (lambda path: torch.save(torch.nn.Linear(2, 2).state_dict(), path), "missing"),
    ],
    ids=["cut", "web page", "another network"],
)
def test_bad_weight_files_are_one_error_before_any_clip(jobs, videos, tmp_path, damage, words):
    torch.save(ip_csn_152().state_dict(), tmp_path / "event.pth")
    damage(tmp_path / "event.pth")
    (tmp_path / "weights.json").write_text('{"event": "event.pth"}')
    out = tmp_path / "out"
    options = ExtractOptions(
        out=str(out),
        dataset="folder",
        root=str(videos),
        tiers=("event",),
        weights=str(tmp_path / "weights.json"),
    )
    with pytest.raises(WeightsError, match=words):
        jobs.extract(options)
    assert not (out / "features").exists()
    assert not (out / "rejects").exists()


def test_an_unwritable_cache_is_one_error(jobs, videos, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("M3RAY_CACHE", str(tmp_path / "file"))
    options = ExtractOptions(
        out=str(tmp_path / "out"), dataset="folder", root=str(videos), tiers=("event",), weights="published"
    )
    with pytest.raises(WeightsError, match=r"cannot download .* check the network and the folder's rights"):
        jobs.extract(options)


def test_a_torchvision_model_goes_the_whole_way(jobs, tmp_path):
    """Features, similarity, a bundle, and scores of the same clips from the bundle alone."""
    out = tmp_path / "out"
    tiers = ("raw", "torchvision:resnet18", "similarity")
    options = TrainOptions(
        out=str(out), tiers=tiers, limit=12, fps=2, measure="fractional_mean", runs=2, epochs=2, name="small"
    )
    jobs.train(options)
    (folder,) = (out / "features").glob("torchvision-resnet18-*")
    assert pd.read_parquet(folder)["resnet18"].map(len).eq(512).all()
    trials = pd.read_parquet(out / "study" / "small" / "trials.parquet")
    assert trials.loc[0, "features"] == 15 + 512 + 1
    uris = pd.read_parquet(out / "catalogue.parquet").head(2)
    uris[["uri"]].to_csv(tmp_path / "new.csv", index=False)
    jobs.predict(
        PredictOptions(
            out=str(tmp_path / "new"),
            bundle=str(out / "models" / "small"),
            dataset="table",
            root=str(tmp_path / "new.csv"),
        )
    )
    scores = pd.read_parquet(tmp_path / "new" / "predictions.parquet")
    assert len(scores) == 2
    assert {"share_raw", "share_torchvision:resnet18", "share_similarity"} <= set(scores)
