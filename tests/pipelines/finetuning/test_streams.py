"""The streams of frames of a finetuning: which settings, which clips, from where on."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from trained_studies import train_study

from m3ray.config import DecodeConfig, LimitsConfig, as_json
from m3ray.config.finetuning import FinetuneConfig
from m3ray.datasets.catalogue import add_video_metadata
from m3ray.pipelines.finetuning import streams
from m3ray.pipelines.finetuning.checkpoints import INDEX
from m3ray.pipelines.finetuning.streams import (
    make_frame_cache,
    make_streams,
    read_frame_settings,
    read_longest_clip,
    read_uris,
)
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, update_tier_index
from m3ray.training.finetuning.sampler import ClipSampler, plan_step

SPEC = SimpleNamespace(
    config=FinetuneConfig(epochs=2, frames=8, size=100),
    train=np.arange(5),
    evaluated=np.array([7, 9]),
    sampler=ClipSampler(5, 4, seed=0),
    layout=plan_step(4, 1, 2),
    steps=4,
)


@pytest.fixture
def study(tmp_path):
    return train_study(tmp_path)[0]


def test_frames_are_sampled_as_the_root_s_features_were(tmp_path):
    root, decode = Root(str(tmp_path)), DecodeConfig(fps=4.0)
    root.write_shard(pa.table({"clip_id": ["a"]}), ("features", "event-1"), {"decode": as_json(decode)})
    update_tier_index(root, {"event": TierEntry("event-1", identity={"config": {"network": "ir"}})})
    found, event = read_frame_settings(root, ("raw", "event"))
    assert (found, event.network) == (decode, "ir")


def test_a_root_without_events_has_the_default_network(tmp_path):
    root = Root(str(tmp_path))
    root.write_shard(pa.table({"clip_id": ["a"]}), ("features", "scene-1"), {"decode": as_json(DecodeConfig())})
    update_tier_index(root, {"scene": TierEntry("scene-1", identity={})})
    assert read_frame_settings(root, ("scene",))[1].network == "ip"


def test_addresses_are_in_the_matrix_order(study):
    assert read_uris(study) == [f"{clip}.mp4" for clip in study.data.features.clip_ids]


def test_frames_are_kept_where_they_fit(study, capsys):
    """Seven clips of 50 frames of 100x100 pixels: 7 x 50 x 30,000 bytes, which are 0.0098 GiB."""
    catalogue = read_catalogue(study.root)
    columns = {name: [50] * catalogue.num_rows for name in ("frames", "sampled")}
    metadata = pa.table({"clip_id": catalogue["clip_id"], **columns})
    study.root.write_table(add_video_metadata(catalogue, metadata), "catalogue.parquet")
    for gb, kept in ((0.0099, True), (0.0097, False)):
        spec = SimpleNamespace(**{**vars(SPEC), "config": replace(SPEC.config, cache_gb=gb)})
        cache = make_frame_cache(spec, DecodeConfig(), study.root)
        assert (cache.folder is not None) is kept
    out = capsys.readouterr().out
    assert "the frames of 7 clips take 0.0 GiB: kept in disk after the first epoch" in out
    assert "decoded each epoch (cache_gb 0.0097)" in out


@pytest.fixture
def made(monkeypatch, tmp_path):
    """The streams, and what makes each: the stage, the indices, the micro-batch."""
    made = []
    monkeypatch.setattr(streams, "_make_stream", lambda *arguments: made.append(arguments))
    run = Root(str(tmp_path / "run"))
    return run, make_streams(SPEC, ["u"] * 10, None, LimitsConfig(), run), made


def test_training_streams_all_epochs_and_evaluation_its_clips_once(made):
    _, makers, calls = made
    for name in ("train", "means", "evaluated"):
        makers[name]()
    (train, train_count, micro), (means, means_count, _), (evaluated, evaluated_count, _) = calls
    assert (train.start, train_count, micro) == (0, 16, 2), "2 epochs of 2 steps of 4 clips"
    assert (train.sampler.seed, train.max_frames) == (0, 8)
    assert (means.sampler.seed, means_count, means.rows.tolist()) == (None, 6, [0, 1, 2, 3, 4])
    assert (evaluated.sampler.clips, evaluated_count, evaluated.rows.tolist()) == (2, 2, [7, 9])


@pytest.mark.parametrize("workers", [1, 3, 5, 12])
def test_workers_have_as_many_places_and_each_clip_is_read_once(monkeypatch, workers):
    layout = plan_step(4, workers, 2)
    spec = SimpleNamespace(**{**vars(SPEC), "layout": layout, "sampler": ClipSampler(5, 4, 0, layout.capacity)})
    made = []
    monkeypatch.setattr(streams, "_make_stream", lambda *arguments: made.append(arguments))
    makers = make_streams(spec, ["u"] * 10, None, LimitsConfig(), SimpleNamespace(exists=lambda *_: False))
    for name in ("train", "means", "evaluated"):
        makers[name]()
    for (stage, count, micro), steps in zip(made, (4, None, None), strict=True):
        assert count % (workers * micro) == 0
        samples = stage.sampler.samples(np.arange(count))
        if steps:
            assert count == steps * layout.capacity
        else:
            assert samples.clips[~samples.empty].tolist() == list(range(stage.sampler.clips))
            assert (samples.mask == ~samples.empty).all()


@pytest.mark.parametrize(("sampled", "expected"), [(None, 128), ([40] * 39 + [45], 45), ([500] * 40, 128)])
def test_the_longest_clip_is_what_the_catalogue_says(study, sampled, expected):
    if sampled is not None:
        catalogue = read_catalogue(study.root)
        metadata = pa.table({"clip_id": catalogue["clip_id"], "frames": sampled, "sampled": sampled})
        study.root.write_table(add_video_metadata(catalogue, metadata), "catalogue.parquet")
    assert read_longest_clip(study.root, DecodeConfig(window_frames=128)) == expected


@pytest.mark.parametrize(("step", "start", "left"), [(0, 0, 16), (1, 4, 12), (3, 12, 4), (4, 12, 4)])
def test_a_run_that_goes_on_begins_at_its_checkpoint(made, step, start, left):
    run, makers, calls = made
    run.write_json({"latest_checkpoint_result": {"checkpoint_dir_name": f"step-{step:08d}"}}, INDEX)
    makers["train"]()
    ((stage, count, _),) = calls
    assert (stage.start, count) == (start, left), "one step at least, whose clips are passed over"
