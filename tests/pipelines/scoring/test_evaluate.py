"""What a bundle's evaluation copies from a root, and what it computes. Tiers are made up, no Ray runs."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from digest_tier import TIERS, compute, fill, folder, holds, write, write_listed
from made_bundles import make_pretrained
from made_roots import made_root
from made_scorers import write_scorer
from scipy.stats import spearmanr

from m3ray.config import TierConfigs, TrainConfig
from m3ray.config.options import EvaluateOptions
from m3ray.datasets.catalogue import write_catalogue
from m3ray.errors import M3RayError
from m3ray.features.load import load_data
from m3ray.pipelines.extraction import dataflow, missing_features
from m3ray.pipelines.extraction.root_upkeep import prepare, tidy
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.scoring import evaluate
from m3ray.schema import REJECTS, STORAGE_FAILED, Clip, catalogue_table
from m3ray.scoring.build import make_bundle
from m3ray.scoring.bundle_metadata import BundleMetadata
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.rejects import read_rejected_ids
from m3ray.storage.root import Root
from m3ray.study.store import write_trial
from m3ray.study.study import Study
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant
from m3ray.tiers.user import UserTier, store_user_tier


@pytest.fixture
def scored_root(tmp_path):
    """A root with four clips and their features, and its catalogue."""
    fill(tmp_path / "v", 4)
    root = Root(str(tmp_path / "root"))
    catalogue = write_listed(root, tmp_path / "v")
    compute(root, catalogue)
    return root, catalogue


@pytest.fixture
def evaluated(tmp_path, monkeypatch):
    """Copies and computes the tiers of a root's clips; returns the workspace and the clips that were computed."""
    done = []

    def extract(plan, *_args, **_options):
        ready = prepare(plan)
        done.append(sorted(ready.work["clip_id"].to_pylist()))
        if ready.work.num_rows:
            write(ready)
        tidy(ready)

    bundle = SimpleNamespace(name="bundle", metadata=BundleMetadata(untrained=False), files={}, tiers=())
    monkeypatch.setattr(evaluate, "make_bundle_tiers", lambda _: (TierConfigs(), TIERS))
    monkeypatch.setattr(missing_features, "check_workers", lambda *_: None)
    monkeypatch.setattr(missing_features, "check_versions", lambda *_args, **_: None)
    monkeypatch.setattr(dataflow, "run", extract)

    def evaluate_clips(root, catalogue, **options):
        done.clear()
        out = Root(str(tmp_path / "out"))
        asked = EvaluateOptions(out=out.uri, bundles=["bundle"], roots=[root.uri], **options)
        workspace = evaluate._open_workspace(out, root, "root")
        evaluate._collect_features(workspace, bundle, root, catalogue, asked, Resources(1, 0))
        return workspace, [name for names in done for name in names]

    return evaluate_clips


def reject(root, catalogue, row, error, stage="read"):
    found = {name: catalogue[name][row].as_py() for name in ("clip_id", "uri")}
    rows = [{**found, "stage": stage, "error": error, "message": "words"}]
    root.write_shard(pa.Table.from_pylist(rows, schema=REJECTS), ("rejects",), {})


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("{root}/models/m3s", "results"),
        ("https://host/m3s.zip#sha256=" + 64 * "0", "https://host/m3s.zip"),
        ("s3://bucket/m3s.zip", "s3://bucket/m3s.zip"),
    ],
)
def test_a_bundle_is_of_the_root_that_it_lies_in_or_of_its_own_address(tmp_path, uri, origin):
    root = Root(str(tmp_path / "results"))
    assert evaluate._name_origin(uri.format(root=root.uri), [root], ["results"]) == origin


def test_what_the_root_has_is_taken_and_nothing_computed(scored_root, evaluated):
    root, catalogue = scored_root
    workspace, done = evaluated(root, catalogue)
    assert done == []
    assert holds(workspace, catalogue)
    assert evaluated(root, catalogue)[1] == []


def test_a_clip_that_changed_since_the_root_saw_it_is_computed_here(scored_root, evaluated, tmp_path):
    root, catalogue = scored_root
    name = catalogue["clip_id"][1].as_py()
    evaluated(root, catalogue)
    (tmp_path / "v" / "1" / "0001.mp4").write_bytes(b"another film")
    catalogue = write_listed(root, tmp_path / "v")
    workspace, done = evaluated(root, catalogue)
    assert done == [name]
    assert holds(workspace, catalogue)
    assert not holds(root, catalogue), "the evaluated root stays as it is"


def test_a_clip_that_the_root_never_saw_is_computed_here(scored_root, evaluated, tmp_path):
    root, _ = scored_root
    (tmp_path / "v" / "4").mkdir()
    (tmp_path / "v" / "4" / "0004.mp4").write_bytes(b"new")
    catalogue = write_listed(root, tmp_path / "v")
    workspace, done = evaluated(root, catalogue)
    assert done == ["4/0004.mp4"]
    assert holds(workspace, catalogue)


def test_a_clip_that_only_the_storage_failed_is_computed_here(scored_root, evaluated, tmp_path):
    root, catalogue = scored_root
    name = catalogue["clip_id"][2].as_py()
    for tier in TIERS:
        root.delete_folder("features", folder(root, tier.name))
    compute(root, catalogue.filter(pa.array([row != 2 for row in range(4)])))
    reject(root, catalogue, 2, STORAGE_FAILED)
    workspace, done = evaluated(root, catalogue)
    assert done == [name]
    assert holds(workspace, catalogue)


def test_what_the_root_rejected_stays_out(scored_root, evaluated):
    root, catalogue = scored_root
    for tier in TIERS:
        root.delete_folder("features", folder(root, tier.name))
    kept = catalogue.filter(pa.array([row != 2 for row in range(4)]))
    compute(root, kept)
    reject(root, catalogue, 2, "damaged", stage="decode")
    workspace, done = evaluated(root, catalogue)
    assert done == []
    assert holds(workspace, kept)


def test_a_clip_that_is_gone_is_a_reject_and_one_that_vanishes_is_an_error(
    scored_root, evaluated, tmp_path, monkeypatch
):
    root, _ = scored_root
    for name in ("4/0004.mp4", "5/0005.mp4"):
        (tmp_path / "v" / name).parent.mkdir()
        (tmp_path / "v" / name).write_bytes(name.encode())
    catalogue = write_listed(root, tmp_path / "v")
    (tmp_path / "v" / "5" / "0005.mp4").unlink()
    workspace, done = evaluated(root, catalogue)
    assert done == ["4/0004.mp4", "5/0005.mp4"]
    assert read_rejected_ids(workspace).to_pylist() == ["5/0005.mp4"]
    (tmp_path / "v" / "4" / "0004.mp4").write_bytes(b"changed")
    monkeypatch.setattr(dataflow, "run", lambda *_args, **_: None)  # its workers were lost
    with pytest.raises(M3RayError, match=r"1 clips, 4/0004.mp4 among them, have neither one features nor a row in rej"):
        evaluated(root, write_listed(root, tmp_path / "v"))


# What a bundle has seen. Tiers are user-provided, so that nothing is computed.


def draw_clips(seed, count=160):
    """Features (N, 12) and scores of clips: a line in the features, and chance."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((count, 12)).astype(np.float32)
    noise = 1.5 * rng.standard_normal(count)
    return values, 1 / (1 + np.exp(-(values[:, 0] + values[:, 1] + noise)))


def make_root(folder, values, scores, splits):
    root, ids = Root(str(folder)), [f"c{k}" for k in range(len(values))]
    clips = [Clip(name, "", split, float(score)) for name, split, score in zip(ids, splits, scores, strict=True)]
    write_catalogue(root, catalogue_table(clips), 0)
    store_user_tier(root, UserTier("text", tuple(ids), {"text": values}, True, "text.npz"), ids)
    return root


def train_bundle(root, name="plain", seeds=(0,)):
    """A bundle that has learned its train clips by heart."""
    training = TrainConfig(hidden=(64,), epochs=60, learning_rate=1e-2)
    variant = Variant(name, ("text",), training=training)
    study = Study(root, name, load_data(root, ("text",)), seeds)
    write_trial(study, variant, run_trial(variant, study.data, study.seeds, torch.device("cpu")))
    make_bundle(study, variant, TierConfigs(), {}, name, "train").save(root, "models", name)
    return root.display("models", name)


SPLITS = ["train"] * 100 + ["val"] * 20 + ["test"] * 40


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A root, its bundle, and its clips."""
    values, scores = draw_clips(0)
    root = make_root(tmp_path_factory.mktemp("learned"), values, scores, SPLITS)
    train_bundle(root)
    return root, values, scores


def evaluate_on(out, bundles, *roots):
    options = EvaluateOptions(out=str(out), bundles=tuple(bundles), roots=tuple(root.uri for root in roots))
    return evaluate.evaluate_all(SimpleNamespace(root=Root(str(out))), options, Resources(1, 0))


def test_clips_that_a_bundle_learned_from_are_left_out_of_another_root(learned, tmp_path, capsys):
    """The other root's test split: 30 of the bundle's train clips, 10 of its val, 40 new ones."""
    root, values, scores = learned
    new_values, new_scores = draw_clips(1, 40)
    rows = np.r_[0:30, 100:110]
    other = make_root(
        tmp_path / "other",
        np.concatenate([values[rows], new_values, draw_clips(2, 20)[0]]),
        np.concatenate([scores[rows], new_scores, draw_clips(2, 20)[1]]),
        ["test"] * 80 + ["train"] * 20,
    )
    (row,) = evaluate_on(tmp_path / "out", [root.display("models", "plain")], other)
    assert (row.clips, row.seen_train, row.seen_val) == (40, 30, 10)
    honest = make_root(tmp_path / "honest", new_values, new_scores, ["test"] * 40)
    (alone,) = evaluate_on(tmp_path / "out2", [root.display("models", "plain")], honest)
    assert (alone.seen_train, alone.seen_val) == (0, 0)
    assert row.spearman == pytest.approx(alone.spearman, abs=1e-12)
    assert (row.low, row.high, row.mse) == pytest.approx((alone.low, alone.high, alone.mse))
    assert row.spearman_with_seen > row.spearman, "learned by heart"
    said = (
        f"of the 80 test clips of other 30 trained plain of {root.uri}/models/plain and 10 were its val clips: "
        f"left out; rho {row.spearman:.3f} without them, {row.spearman_with_seen:.3f} with them"
    )
    assert said in capsys.readouterr().out
    assert said in (tmp_path / "out" / "evaluation" / "evaluation.md").read_text()
    table = pd.read_csv(tmp_path / "out" / "evaluation" / "evaluation.csv")
    assert table[["seen_train", "seen_val"]].to_numpy().tolist() == [[30, 10]]


def test_where_all_clips_were_seen_the_metrics_are_undefined_and_why(learned, tmp_path):
    root, values, scores = learned
    other = make_root(tmp_path / "other", values[:31], scores[:31], ["test"] * 30 + ["train"])
    (row,) = evaluate_on(tmp_path / "out", [root.display("models", "plain")], other)
    assert (row.clips, row.seen_train, row.spearman, row.low, row.mse) == (0, 30, None, None, None)
    assert row.undefined == "0 clips are left of 30, 2 are the fewest: the bundle has seen the others"
    text = (tmp_path / "out" / "evaluation" / "evaluation.md").read_text()
    assert "undefined (0 test clips)" in text
    assert row.undefined in text


def test_a_root_s_own_test_split_is_apart_but_for_copies(learned, tmp_path):
    """One test clip is a copy of a train clip under another id."""
    root, values, scores = learned
    (row,) = evaluate_on(tmp_path / "out", [root.display("models", "plain")], root)
    assert (row.own, row.clips, row.seen_train, row.seen_val) == (True, 40, 0, 0)
    copied, copied_scores = values.copy(), scores.copy()
    copied[130], copied_scores[130] = values[7], 0.5
    twice = make_root(tmp_path / "twice", copied, copied_scores, SPLITS)
    (row,) = evaluate_on(tmp_path / "out2", [train_bundle(twice)], twice)
    assert (row.own, row.clips, row.seen_train) == (True, 39, 1)


def test_a_root_s_own_val_is_counted_and_stays(tmp_path):
    """Without a test split val is all there is: it trained nothing."""
    values, scores = draw_clips(3)
    root = make_root(tmp_path / "root", values, scores, ["train"] * 120 + ["val"] * 40)
    (row,) = evaluate_on(tmp_path / "out", [train_bundle(root)], root)
    assert (row.own, row.split, row.clips, row.seen_train, row.seen_val) == (True, "val", 40, 0, 40)
    assert "its own val clips, which may have chosen its settings and calibrated it, and no test split is there" in (
        (tmp_path / "out" / "evaluation" / "evaluation.md").read_text()
    )


def test_an_older_bundle_does_not_know_its_clips_and_that_is_said(learned, tmp_path):
    root, values, scores = learned
    old = Path(shutil.copytree(f"{root.uri}/models/plain", tmp_path / "old"))
    (old / "train_clips.safetensors").unlink()
    metadata = json.loads((old / "bundle.json").read_text())
    del metadata["files"]["train_clips.safetensors"]
    (old / "bundle.json").write_text(json.dumps(metadata))
    other = make_root(tmp_path / "other", values[:60], scores[:60], ["test"] * 50 + ["train"] * 10)
    (row,) = evaluate_on(tmp_path / "out", [str(old)], other)
    assert (row.clips, row.seen_train, row.seen_val) == (50, None, None)
    text = (tmp_path / "out" / "evaluation" / "evaluation.md").read_text()
    assert "Whether clips of other trained plain of" in text
    assert "is unknown: an older m3ray wrote the bundle" in text


def test_two_bundles_of_one_root_and_two_of_one_name_have_a_row_each(learned, tmp_path):
    root, *_ = learned
    values, scores = draw_clips(4)
    second = make_root(tmp_path / "second", values, scores, SPLITS)
    bundles = [train_bundle(root, "a"), train_bundle(root, "b", seeds=(1,)), train_bundle(second, "a")]
    copy = shutil.copytree(bundles[0], Path(bundles[0]).with_name("copy"))
    rows = evaluate_on(tmp_path / "out", [*bundles, str(copy)], root, second)
    assert len(rows) == 8
    lines = (tmp_path / "out" / "evaluation" / "evaluation.md").read_text().splitlines()
    first = root.uri.rpartition("/")[2]
    assert [line.split("|")[1].strip() for line in lines[2:6]] == [
        f"{first}: a",
        f"{first}: b",
        "second",
        f"{first}: copy",
    ]


def test_a_pretrained_scorer_has_a_row_beside_trained_bundles(tmp_path, monkeypatch):
    """It is of no root here, and nobody knows whether it has seen the clips."""
    root = made_root(tmp_path / "root", rows=80)
    outputs = write_scorer(root)
    monkeypatch.setattr(evaluate, "open_bundle", lambda name, **_: make_pretrained(name))
    monkeypatch.setattr(evaluate, "_collect_features", lambda _workspace, _bundle, root, *_: root)
    (row,) = evaluate_on(tmp_path / "out", ["resmem"], root)
    clips = read_catalogue(root).to_pandas().query("split == 'val'")
    expected = spearmanr(clips["score"], clips["clip_id"].map(outputs)).statistic
    assert row.spearman == pytest.approx(expected, abs=1e-6)
    assert (row.bundle, row.trained_on, row.own, row.pretrained) == (
        "resmem",
        "images of LaMem and MemCat",
        False,
        True,
    )
    text = (tmp_path / "out" / "evaluation" / "evaluation.md").read_text()
    assert "| images of LaMem and MemCat | " in text
    assert (
        "Whether clips of root are among images of LaMem and MemCat, which resmem was trained on, is unknown." in text
    )
