"""What a bundle's evaluation copies from a root, and what it computes. Tiers are made up, no Ray runs."""

from types import SimpleNamespace

import pyarrow as pa
import pytest
from digest_tier import TIERS, compute, fill, folder, holds, write, write_listed

from m3ray.config import TierConfigs
from m3ray.config.options import EvaluateOptions
from m3ray.errors import M3RayError
from m3ray.pipelines.extraction import dataflow, missing_features
from m3ray.pipelines.extraction.root_upkeep import prepare, tidy
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.scoring import evaluate
from m3ray.schema import REJECTS, STORAGE_FAILED
from m3ray.scoring.bundle_metadata import BundleMetadata
from m3ray.storage.rejects import read_rejected_ids
from m3ray.storage.root import Root


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

    bundle = SimpleNamespace(name="bundle", metadata=BundleMetadata(untrained=False))
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
