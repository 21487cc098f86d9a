"""Maps of clips that were scored: which ones, what a rerun leaves as it is, and what becomes of those that fail."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from m3ray.config.compute import ComputeConfig
from m3ray.config.explain_options import ExplainConfig
from m3ray.config.options import PredictOptions
from m3ray.datasets.catalogue import write_catalogue
from m3ray.errors import ConfigError
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.scoring import explain as module
from m3ray.pipelines.scoring.explain import (
    MapRequest,
    check_maps,
    choose_clips,
    describe_plan,
    drop_other_maps,
    explain,
    find_maps,
    make_settings,
    plan_work,
    read_user_tiers,
)
from m3ray.pipelines.scoring.worker_pool import WorkerLostError
from m3ray.schema import Clip, catalogue_table
from m3ray.scoring.explanations.explained_files import read_explained, write_explained
from m3ray.storage.root import Root
from m3ray.tiers.user import UserTier, store_user_tier

CELLS = pa.table({"clip_id": ["a"], "effect": [0.1]})
SCORES = pd.DataFrame({"clip_id": [f"{k:02d}" for k in range(20)], "score": np.linspace(0, 1, 20), "split": None})


def test_both_ends_are_mapped_where_no_clip_is_named():
    chosen, unscored = choose_clips((), SCORES)
    assert chosen == [f"{k:02d}" for k in (*range(19, 11, -1), *range(7, -1, -1))]
    assert unscored == []


def test_named_clips_are_mapped_by_falling_score_and_those_without_one_are_told():
    assert choose_clips(("03", "17", "99", "03"), SCORES) == (["17", "03"], ["99"])
    assert choose_clips(("all",), SCORES) == (SCORES["clip_id"].tolist()[::-1], [])
    unknown = SCORES.assign(score=np.nan)
    assert choose_clips(("03",), unknown) == ([], ["03"])


def test_what_has_no_map_or_no_gradient_is_told_before_any_work(bundle):
    raw = SimpleNamespace(name="raw")
    check_maps(bundle, [raw], ExplainConfig())
    with pytest.raises(ConfigError, match="user-provided tiers alone"):
        check_maps(bundle, [], ExplainConfig())
    with pytest.raises(ConfigError, match="raw"):
        check_maps(bundle, [raw], ExplainConfig(method="gradient"))
    with pytest.raises(ConfigError, match="budget"):
        check_maps(bundle, [raw], ExplainConfig(budget=0))


@pytest.mark.parametrize(
    ("given", "clips", "plan"),
    [
        ({}, 500, "plan: maps of 16 clips, up to 128 evaluations each, 2,048 in all"),
        ({}, 3, "plan: maps of 3 clips, up to 128 evaluations each, 384 in all"),
        ({"explain_clips": ("all",)}, 500, "plan: maps of 500 clips, up to 128 evaluations each, 64,000 in all"),
        ({"explain_clips": ("a", "b", "a")}, 500, "plan: maps of 2 clips, up to 128 evaluations each, 256 in all"),
        ({"explanations": ExplainConfig(method="gradient")}, 500, "plan: maps of 16 clips by gradients"),
    ],
)
def test_the_plan_has_the_number_of_clips_and_evaluations(given, clips, plan):
    given = {"explanations": ExplainConfig(budget=128), **given}
    assert describe_plan(PredictOptions(out="o", explain=True, **given), clips) == plan


class FakeWorkers:
    """Workers that write a map at once; a deadly clip kills them."""

    def __init__(self, settings, deadly=()):
        self.settings, self.deadly, self.mapped, self.clips = settings, deadly, [], {}

    def start(self):
        return "worker"

    def submit(self, worker, clip):
        self.clips[clip.clip_id] = clip
        return clip.clip_id

    def wait(self, calls):
        return calls[:1]

    def take(self, worker, call):
        clip = self.clips[call]
        if clip.clip_id in self.deadly:
            raise WorkerLostError("exit code 11", opened=True)
        self.mapped.append(clip.clip_id)
        row = {"clip_id": clip.clip_id, "source": self.settings.source, "stamp": clip.stamp, "seconds": 1.0}
        return write_explained(self.settings.folder, row, CELLS, ("png", b""), self.settings.origin)

    def stop(self, worker):
        pass


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "bundle.json").write_text("{}")
    return SimpleNamespace(name="m3s", uri=str(folder), tiers=("raw",), metadata=SimpleNamespace(user_provided={}))


def list_clips(workspace, folder, names):
    write_catalogue(workspace, catalogue_table([Clip(name, str(folder / "videos" / name)) for name in names]), 0)


@pytest.fixture
def request_of(tmp_path, bundle):
    """A request for maps of clips whose files are there."""
    root = Root(str(tmp_path / "out"))
    (tmp_path / "videos").mkdir()
    for clip in SCORES["clip_id"]:
        (tmp_path / "videos" / clip).write_bytes(clip.encode())
    workspace = root.subroot("predict")
    list_clips(workspace, tmp_path, SCORES["clip_id"])

    def make(**given):
        options = PredictOptions(out=root.uri, explain=True, **given)
        folder = find_maps(root, ("predictions.parquet",))
        return MapRequest(bundle, workspace, folder, {"bundle": "m3s", "catalogue": "predict"}, options)

    return make


@pytest.fixture
def run(monkeypatch, request_of):
    """Maps clips with fake workers; returns which were mapped."""

    def run(deadly=(), request=None, **given):
        made = []
        monkeypatch.setattr(
            module, "start_workers", lambda settings, *_: made.append(FakeWorkers(settings, deadly)) or made[0]
        )
        request = request or request_of(**given)
        explain(request, SCORES, Resources(2, 0))
        return sorted(made[0].mapped) if made else []

    return run


def test_a_rerun_maps_what_has_no_map_of_these_settings(run, request_of, tmp_path):
    assert run(explain_clips=("01", "02")) == ["01", "02"]
    assert run(explain_clips=("01", "02", "03")) == ["03"]
    assert run(explain_clips=("01", "02")) == [], "no worker was started"
    finer = ExplainConfig(budget=512)
    assert run(explain_clips=("01",), explanations=finer) == ["01"], "other settings"
    assert read_explained(request_of().folder)["clip_id"].to_pylist() == ["01", "02", "03"]


def test_a_clip_whose_content_changed_is_mapped_again(run, request_of, tmp_path):
    run(explain_clips=("01", "02"))
    changed = tmp_path / "videos" / "01"
    changed.write_bytes(b"another video")
    request = request_of(explain_clips=("01", "02"))
    list_clips(request.workspace, tmp_path, SCORES["clip_id"])
    assert run(request=request) == ["01"]


def test_a_clip_that_kills_its_workers_has_a_row_with_the_reason_and_is_tried_again(run, request_of, caplog):
    assert run(deadly=("02",), explain_clips=("01", "02", "03")) == ["01", "03"]
    rows = {row["clip_id"]: row["reason"] for row in read_explained(request_of().folder).to_pylist()}
    assert rows == {"01": None, "02": "its worker died 3 times: exit code 11", "03": None}
    assert "02 has no map: its worker died 3 times" in caplog.text
    assert run(explain_clips=("01", "02", "03")) == ["02"]
    assert read_explained(request_of().folder)["reason"].null_count == 3


def test_a_clip_that_was_not_scored_has_the_reason(run, request_of):
    assert run(explain_clips=("rejected.mp4", "01")) == ["01"]
    rows = {row["clip_id"]: row["reason"] for row in read_explained(request_of().folder).to_pylist()}
    assert rows["rejected.mp4"].startswith("it has no score: it was rejected")


def test_maps_by_another_bundle_of_the_same_name_go(run, request_of, bundle, tmp_path):
    run(explain_clips=("01", "02"))
    request = request_of()
    drop_other_maps(request)
    assert read_explained(request.folder).num_rows == 2
    (tmp_path / "bundle" / "bundle.json").write_text('{"trained": "anew"}')
    drop_other_maps(request)
    assert read_explained(request.folder).num_rows == 0
    drop_other_maps(request)


def test_maps_of_clips_that_changed_or_left_go_and_those_by_other_settings_stay(run, request_of, tmp_path):
    """The scores are the new content's, whether maps are asked for again or not."""
    run(explain_clips=("01", "02"))
    run(explain_clips=("03", "04", "rejected.mp4"), explanations=ExplainConfig(budget=512))
    (tmp_path / "videos" / "01").write_bytes(b"another video")
    request = request_of()
    list_clips(request.workspace, tmp_path, [clip for clip in SCORES["clip_id"] if clip != "04"])
    drop_other_maps(request)
    assert read_explained(request.folder)["clip_id"].to_pylist() == ["02", "03"]
    assert run(request=request_of(explain_clips=("02",))) == []


def test_maps_of_clips_whose_user_provided_values_changed_or_left_go(run, request_of, bundle):
    request = request_of()
    bundle.metadata.user_provided = {"text": None}
    values = np.arange(6, dtype=np.float32).reshape(3, 2)

    def provide(ids, values):
        tier = UserTier("text", ids, {"text": values}, scaled=True, source="text.npz")
        store_user_tier(request.workspace, tier, list(ids), allow_missing=False)

    provide(("00", "01", "02"), values)
    run(explain_clips=("00", "01", "02"))
    drop_other_maps(request)
    assert read_explained(request.folder).num_rows == 3
    provide(("00", "01"), values[:2] + np.array([[0], [1]], np.float32))
    drop_other_maps(request)
    assert read_explained(request.folder)["clip_id"].to_pylist() == ["00"]


def test_what_users_provide_travels_with_each_clip_and_changes_its_stamp(request_of, bundle):
    request = request_of()
    bundle.metadata.user_provided = {"text": None}
    ids = tuple(SCORES["clip_id"])

    def provide(first):
        values = np.arange(40, dtype=np.float32).reshape(20, 2)
        values[1, 0] = first
        tier = UserTier("text", ids, {"text": values}, scaled=True, source="text.npz")
        store_user_tier(request.workspace, tier, list(ids), allow_missing=False)

    provide(2)
    first = plan_work(request, ["01", "02"])
    np.testing.assert_array_equal(first[0].tiers["text"]["text"], [[2, 3]])
    provide(7)
    second = plan_work(request, ["01", "02"])
    assert first[0].stamp != second[0].stamp
    assert first[1].stamp == second[1].stamp
    assert read_user_tiers(request.workspace, ["text"], []) == []


def test_workers_are_made_with_what_the_job_was_given(request_of):
    request = request_of(allow_other_weights=True, compute=ComputeConfig(threads=3))
    settings = make_settings(request, Resources(4, 0))
    assert (settings.gpu, settings.threads, settings.allow_other_weights) == (False, 3, True)
    assert make_settings(request, Resources(4, 2)).gpu
    assert settings.bundle == request.bundle.uri
    pretrained = replace(request, bundle=SimpleNamespace(name="resmem", uri=None, metadata=request.bundle.metadata))
    pretrained.bundle.metadata.as_json = lambda: {"tiers": {}}
    assert make_settings(pretrained, Resources(4, 0)).bundle == "resmem"
