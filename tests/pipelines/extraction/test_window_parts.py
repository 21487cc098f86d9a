"""A clip whose windows are computed apart, in any order and by several writers, has the features of a whole one."""

import json
import random

import numpy as np
import pyarrow as pa
import pytest
from drawn import pictures
from ledgers import Handle
from mean_tier import FOLDERS, MeanTier

from m3ray.config import DecodeConfig, LimitsConfig, RawConfig
from m3ray.errors import DecodeError
from m3ray.pipelines.extraction import write_stage
from m3ray.pipelines.extraction.crash_guard import Ledger
from m3ray.pipelines.extraction.decode_stage import DecodeStage
from m3ray.pipelines.extraction.records import WORK, unpack_decoded_clips
from m3ray.pipelines.extraction.tier_columns import TierColumns, pack_window
from m3ray.pipelines.extraction.tier_stage import TierStage
from m3ray.pipelines.extraction.window_parts import join_windows, sum_seconds
from m3ray.pipelines.extraction.write_stage import WriteStage
from m3ray.storage.root import Root
from m3ray.tiers import WeightedValue, average_windows
from m3ray.tiers.base import iter_clip_windows
from m3ray.tiers.hog_pca import HogProjection
from m3ray.tiers.raw_tier import RawTier
from m3ray.video.encode import encode_clip
from m3ray.video.sandbox import Decoder

CONFIG = DecodeConfig(window_frames=8, size=64)


class FirstFrameTier(MeanTier):
    """Its windows but the first add nothing to their clip, as the scene tier's."""

    whole_clip = False

    def compute(self, windows):
        found = super().compute([*windows])
        return [{} if window.index else features for window, features in zip(windows, found, strict=True)]


def raw_tier():
    rng = np.random.default_rng(0)
    numbers = 7 * 7 * 36  # HOG of 64x64: 8x8 cells, blocks of 2x2, 9 orientations
    return RawTier(RawConfig(), HogProjection(rng.random(numbers).astype(np.float32),
                                              rng.random((10, numbers)).astype(np.float32), 2))  # fmt: skip


def make_tiers():
    return [MeanTier("mean"), FirstFrameTier("first"), raw_tier()]


def computed_rows(folder, tiers, frames=20):
    """Rows of a clip of `frames` frames, a table a window, and its bytes."""
    data = encode_clip(pictures(frames), 10)
    (folder / "long.mp4").write_bytes(data)
    work = [{"clip_id": "x", "uri": str(folder / "long.mp4"), "tiers": [tier.name for tier in tiers]}]
    decode, stage = DecodeStage(CONFIG, LimitsConfig()), TierStage(tiers, CONFIG, LimitsConfig(), 1)
    return [stage(table) for table in decode(pa.Table.from_pylist(work, schema=WORK))], data


def make_writer(root, tiers, ledger=None):
    folders = {**FOLDERS, "first": ("features", "first-1")}
    columns = [TierColumns(tier.name, tier.schema) for tier in tiers]
    return WriteStage(root, columns, folders, {name: {} for name in folders}, ledger=ledger)


@pytest.fixture
def ledger(monkeypatch):
    monkeypatch.setattr(write_stage.ray, "get", lambda value: value)
    return Handle(Ledger())


def test_features_are_those_of_a_clip_that_is_computed_at_once(tmp_path, ledger):
    tiers = make_tiers()
    tables, data = computed_rows(tmp_path, tiers)
    assert [row["part"] for table in tables for row in table.to_pylist()] == [
        {"index": index, "count": 3, "attempt": 0} for index in range(3)
    ]
    random.Random(0).shuffle(tables)
    root = Root(str(tmp_path / "root"))
    counts = [make_writer(root, tiers, ledger)(table).to_pylist()[0] for table in tables]
    assert [(count["done"], count["rejected"]) for count in counts] == [(0, 0), (0, 0), (1, 0)]
    decoder = Decoder(CONFIG, LimitsConfig())
    windows = [window for _, window in iter_clip_windows(decoder.windows(data))]
    decoder.close()
    for tier in tiers:
        expected = average_windows(found for window in windows for found in tier.compute([window]))
        (row,) = root.read_shards("features", f"{tier.name}-1").to_pylist()
        for column, value in expected.items():
            # To the bit, as the same numbers are added in the same order; vectors are kept as float32.
            np.testing.assert_array_equal(np.float32(row[column]), np.float32(value))
    assert root.read_shards("features", "facts-1").num_rows == 1
    assert ledger.ledger.joins.windows == {}


def test_one_failed_window_rejects_the_clip_and_others_come_to_nothing(tmp_path, ledger):
    tiers = [MeanTier()]
    tables, _ = computed_rows(tmp_path, tiers)
    names = tables[1].column_names
    failed = {**tables[1].to_pylist()[0], "stage": "tier", "error": "ValueError", "message": "words", "tier_mean": None}
    tables[1] = pa.Table.from_pylist([failed], schema=tables[1].schema).select(names)
    root = Root(str(tmp_path / "root"))
    writer = make_writer(root, tiers, ledger)
    counts = [writer(table).to_pylist()[0] for table in tables]
    assert [(count["done"], count["rejected"]) for count in counts] == [(0, 0), (0, 1), (0, 0)]
    assert [row["clip_id"] for row in root.read_shards("rejects").to_pylist()] == ["x"]


def test_a_clip_that_ends_amid_is_one_reject_after_its_first_windows(tmp_path, monkeypatch):
    def windows(self, data):
        for index, window in enumerate(original(self, data)):
            if index == 1:
                raise DecodeError("damaged", "words")
            yield window

    original = Decoder.windows_in_one_pass
    monkeypatch.setattr(Decoder, "windows_in_one_pass", windows)
    tables, _ = computed_rows(tmp_path, [MeanTier()])
    rows = [row for table in tables for row in table.to_pylist()]
    assert [(row["part"]["index"], row["error"]) for row in rows] == [(0, None), (1, "damaged")]
    root = Root(str(tmp_path / "root"))
    counts = make_writer(root, [MeanTier()])(pa.concat_tables(tables)).to_pylist()[0]
    assert (counts["done"], counts["rejected"]) == (0, 1)
    assert root.read_shards("features", "mean-1") is None


def test_windows_travel_with_the_frame_before_them(tmp_path):
    (tmp_path / "long.mp4").write_bytes(encode_clip(pictures(20), 10))
    work = [{"clip_id": "x", "uri": str(tmp_path / "long.mp4"), "tiers": ["mean"]}]
    tables = DecodeStage(CONFIG, LimitsConfig())(pa.Table.from_pylist(work, schema=WORK))
    first, second, third = [row for table in tables for row in unpack_decoded_clips(table)]
    assert first.lead is None
    np.testing.assert_array_equal(second.lead[0], first.frames[-1])
    np.testing.assert_array_equal(third.lead[0], second.frames[-1])
    assert [len(row.frames) for row in (first, second, third)] == [8, 8, 4]
    assert len({row.row_id for row in (first, second, third)}) == 3


def part_row(value, seconds=1.0, environment="{}"):
    packed = TierColumns("mean", MeanTier().schema)
    weights = np.array([2.0])
    data = weights.tobytes() + packed.pack({"mean": np.full(3, value)})
    return {"clip_id": "x", "part": {}, "tier_mean": data, "seconds": [("mean", seconds)], "environment": environment,
            "stage": None, "error": None, "message": None}  # fmt: skip


def test_a_mean_that_is_not_finite_rejects_the_clip():
    row = join_windows([part_row(1.0), part_row(np.inf)], [TierColumns("mean", MeanTier().schema)])
    assert (row["stage"], row["error"], row["tier_mean"]) == ("tier:mean", "FeatureError", None)
    assert "mean not finite" in row["message"]


def test_environments_of_all_windows_are_kept():
    environments = [json.dumps({"software": {"torch": version}}) for version in ("1", "2", "1")]
    rows = [part_row(1.0, environment=each) for each in environments]
    assert join_windows(rows, [])["environment"].splitlines() == sorted(set(environments))


def test_seconds_of_all_windows_are_summed():
    assert sum_seconds([part_row(1.0, 0.5), part_row(1.0, 0.25)]) == {"mean": 0.75}


def test_what_a_window_found_comes_back_as_it_was():
    columns = TierColumns("raw", RawTier.schema)
    names = RawTier.schema.names[1:]
    found = {name: WeightedValue(np.arange(10.0) if name == "hog" else np.float64(k), k + 0.5)
             for k, name in enumerate(names)}  # fmt: skip
    back = columns.unpack_window(pack_window(found, RawTier.schema))
    assert list(back) == names
    for name in names:
        np.testing.assert_array_equal(back[name].value, found[name].value)
        assert back[name].weight == found[name].weight
    assert columns.unpack_window(b"") == {}
