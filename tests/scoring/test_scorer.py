"""The scorer in one process: what it takes, what becomes of each clip, user-provided tiers, scores over time."""

import warnings
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import torch
from made_bundles import TEXT, BrightnessScorer, make_bundle, make_pretrained

import m3ray
from m3ray.config import SlidingWindowConfig
from m3ray.errors import ConfigError, DecodeError, FeatureError, ShapeError
from m3ray.features.matrix import Block
from m3ray.scoring import scorer as scoring
from m3ray.scoring.bundle_tiers import make_bundle_tiers
from m3ray.scoring.scorer import Scorer
from m3ray.storage.root import Root
from m3ray.tiers import WeightedValue
from m3ray.video.encode import encode_clip
from m3ray.video.metadata import VideoMetadata

NUMBERS = ["score", "spread", "low", "high", "seconds"]


@pytest.fixture
def scorer(tmp_path):
    make_bundle(tiers={"text": TEXT}).save(Root(str(tmp_path)), "b")
    loaded = Scorer(tmp_path / "b")
    yield loaded
    loaded.close()


def test_a_bundle_of_user_provided_tiers_needs_no_video(scorer):
    assert make_bundle_tiers(scorer.bundle)[1] == []
    values = {"text": np.arange(6.0).reshape(2, 3), "length": np.array([1.0, 2.0])}
    frame = scorer.predict(["a.mp4", "b.mp4"], {"text": values})
    assert frame["clip_id"].tolist() == ["a.mp4", "b.mp4"]
    matrix = np.concatenate([values["text"], values["length"][:, None]], axis=1).astype(np.float32)
    expected = scorer.bundle._predict(matrix).mean(axis=0)
    np.testing.assert_allclose(frame["score"], expected, atol=1e-6)


def test_a_single_path_is_one_video(scorer):
    frame = scorer.predict("a.mp4", {"text": {"text": np.zeros((1, 3)), "length": np.zeros(1)}})
    assert frame["clip_id"].tolist() == ["a.mp4"]


@pytest.mark.parametrize(
    "tiers",
    [
        None,
        {"text": {"text": np.zeros((1, 3))}},
        {"text": {"text": np.zeros((1, 4)), "length": np.zeros(1)}},
        {"text": {"text": np.zeros((2, 3)), "length": np.zeros(2)}},
    ],
)
def test_other_columns_than_the_bundle_s_are_told(scorer, tiers):
    words = r"small sees the user-provided tier text: give predict\(.*\(1, 3\).*'length': \(1,\).*; got"
    with pytest.raises(FeatureError, match=words):
        scorer.predict(["a.mp4"], tiers)


class Brightness:
    """A tier of one number, the frames' mean; it notes the windows that it saw."""

    name = "text"

    def __init__(self):
        self.seen = []

    def compute(self, windows):
        self.seen += [(window.index, None if window.lead is None else int(window.lead[0, 0, 0])) for window in windows]
        return [{"text": WeightedValue(window.frames.mean(), len(window.frames))} for window in windows]


@pytest.fixture
def video(scorer, monkeypatch):
    """A clip of five frames of grey 0 to 4, in decoder windows of two, and a tier that sees it."""
    metadata = VideoMetadata(2, 2, 5.0, 1.0, 5, 5, 500, "mp4")
    frames = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1) * np.ones((1, 2, 2, 3), np.uint8)
    monkeypatch.setattr(scoring, "read_video", lambda *_: b"")
    monkeypatch.setattr(scorer.decoder, "windows", lambda _: [(metadata, frames[k : k + 2]) for k in (0, 2, 4)])
    tier = Brightness()
    scorer.tiers = [tier]
    return scorer, tier


def test_a_clip_s_windows_are_averaged_and_each_sees_the_frame_before_it(video):
    scorer, tier = video
    assert scorer.features("a.mp4") == {"text": {"text": 2.0}}, "the mean of 0 to 4, each frame once"
    assert tier.seen == [(0, None), (1, 1), (2, 3)]


def test_an_error_names_the_video(video, monkeypatch):
    def fail(_):
        raise DecodeError("damaged", "packet 3 does not decode")

    scorer, _ = video
    monkeypatch.setattr(scorer.decoder, "windows", fail)
    with pytest.raises(DecodeError, match=r"^a\.mp4: packet 3 does not decode") as error:
        scorer.features("a.mp4")
    assert (error.value.reason, error.value.stage) == ("damaged", "decode")


def test_scores_over_time_are_those_of_each_window_alone(video, monkeypatch):
    scorer, _ = video
    rows = []

    def score(windows, ids):
        rows.extend(windows)
        return {"score": np.arange(len(ids)) / 10}

    monkeypatch.setattr(scorer, "score_rows", score)
    monkeypatch.setattr(scorer, "check_user_columns", lambda *_: {})
    frame = scorer.over_time("a.mp4", SlidingWindowConfig(window=0.4, step=0.4))  # two frames each, at 5 a second
    assert [row["text"]["text"] for row in rows] == [0.5, 2.5, 3.5], "the last window ends where the clip does"
    assert list(frame.columns) == ["clip_id", "times", "curve", "reason"], "the names that jobs/predict.py writes"
    assert frame["clip_id"].tolist() == ["a.mp4"]
    np.testing.assert_allclose(frame["times"][0], [0.2, 0.6, 0.8])
    assert frame["curve"][0] == [0.0, 0.1, 0.2]
    assert frame["reason"][0] is None


def test_user_provided_tiers_have_no_scores_over_time(scorer):
    with pytest.raises(FeatureError, match="small sees the user-provided tier text"):
        scorer.over_time("a.mp4")


def test_load_gives_a_scorer(tmp_path):
    make_bundle(tiers={"text": TEXT}).save(Root(str(tmp_path)), "b")
    loaded = m3ray.load(tmp_path / "b")
    assert isinstance(loaded, Scorer)
    loaded.close()


# A pretrained scorer whose network is made up: its score is the brightness of the frames.


@pytest.fixture
def pretrained():
    bundle = make_pretrained()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "open_bundle", lambda *_args, **_options: bundle)
        patch.setattr(scoring, "make_bundle_tiers", lambda _: (bundle.metadata.configs, [BrightnessScorer()]))
        loaded = m3ray.load("resmem")
    with loaded as scorer:
        yield scorer


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """Clips of grey 51 and 204 (scores 0.2 and 0.8), a text that is called a video, and a damaged file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v").mkdir()
    for name, grey in (("dark #1.mp4", 51), ("light 100%.mp4", 204)):
        (tmp_path / "v" / name).write_bytes(encode_clip(np.full((45, 64, 64, 3), grey, np.uint8), 15))
    (tmp_path / "v" / "text.mp4").write_text("no video at all")
    data = (tmp_path / "v" / "light 100%.mp4").read_bytes()
    (tmp_path / "v" / "cut.mp4").write_bytes(data[: len(data) // 2])
    return tmp_path / "v"


def test_a_damaged_clip_is_a_row_with_its_reason(pretrained, clips):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = pretrained.predict("v")
    assert list(frame.columns) == pretrained.columns
    assert list(frame.columns) == ["clip_id", "score", "spread", "low", "high", "seconds", "reason"]
    assert frame["clip_id"].tolist() == ["v/cut.mp4", "v/dark #1.mp4", "v/light 100%.mp4", "v/text.mp4"]
    np.testing.assert_allclose(frame["score"], [np.nan, 0.2, 0.8, np.nan], atol=0.01)  # 51 / 255, 204 / 255
    assert frame.dtypes[NUMBERS].eq(float).all()
    assert frame[["low", "high"]].isna().all(axis=None), "not calibrated here"
    assert (frame["seconds"] > 0).all()
    assert [reason is None for reason in frame["reason"]] == [False, True, True, False]
    assert not frame["reason"][3].startswith("v/text.mp4"), "the name stands beside it"
    with pytest.raises(DecodeError, match=r"^v/text\.mp4: "):
        pretrained.predict(["v/dark #1.mp4", "v/text.mp4"], on_error="raise")


def test_a_missing_file_is_a_row(pretrained, clips):
    frame = pretrained.predict(["none.mp4", "v/dark #1.mp4", "v/*.webm"])
    assert frame["reason"].tolist()[0].startswith("no file at ")
    assert frame["reason"].tolist()[1:] == [None, "no file fits this pattern"]
    with pytest.raises(DecodeError, match=r"none\.mp4: no file at"):
        pretrained.predict("none.mp4", on_error="raise")
    with pytest.raises(ConfigError, match=r"on_error='skip': expected 'row'"):
        pretrained.predict("none.mp4", on_error="skip")


def test_of_nothing_there_are_no_rows_and_all_columns(pretrained, scorer):
    for frame in (pretrained.predict([]), pretrained.predict(iter(()))):
        assert frame.shape == (0, len(pretrained.columns))
        assert list(frame.columns) == pretrained.columns
        assert frame.dtypes[NUMBERS].eq(float).all()
    empty = scorer.predict([], {"text": {"text": np.zeros((0, 3)), "length": np.zeros(0)}})
    assert list(empty.columns) == [
        "clip_id", "score", "spread", "low", "high", "share_text", "seconds", "reason"
    ]  # fmt: skip
    assert pretrained.over_time([]).columns.tolist() == ["clip_id", "times", "curve", "reason"]


def test_bytes_arrays_and_paths_of_one_clip_have_one_score(pretrained, clips):
    grey = np.full((30, 64, 64, 3), 204, np.uint8)
    given = [clips / "light 100%.mp4", (clips / "light 100%.mp4").read_bytes(), grey, grey[0], grey / 255.0]
    frame = pretrained.predict(iter(given))
    assert frame["clip_id"].tolist() == [str(clips / "light 100%.mp4"), "[1]", "[2]", "[3]", "[4]"]
    np.testing.assert_allclose(frame["score"], 0.8, atol=0.01)
    np.testing.assert_allclose(frame["score"][2:], 0.8)
    with pytest.raises(ShapeError, match="expected frames"):
        pretrained.predict([np.zeros((4, 4), np.uint8)])


def test_rows_of_many_batches_are_in_order(pretrained, monkeypatch):
    monkeypatch.setattr(scoring, "_BATCH", 3)
    given = [np.full((1, 8, 8, 3), grey, np.uint8) if grey != 40 else b"no video" for grey in range(0, 80, 10)]
    frame = pretrained.predict(iter(given), progress=False)
    np.testing.assert_allclose(frame["score"] * 255, [0, 10, 20, 30, np.nan, 50, 60, 70], atol=1e-4)


def test_user_provided_tiers_stay_with_their_clips_over_batches(scorer, monkeypatch):
    values = {"text": np.arange(15.0).reshape(5, 3), "length": np.arange(5.0)}
    whole = scorer.predict(list("abcde"), {"text": values})
    monkeypatch.setattr(scoring, "_BATCH", 2)
    parts = scorer.predict(list("abcde"), {"text": values})
    pd.testing.assert_frame_equal(parts.drop(columns="seconds"), whole.drop(columns="seconds"))
    assert whole["score"].nunique() == 5


def test_a_clip_that_cannot_be_read_takes_no_other_clip_s_user_provided_values(tmp_path, clips, monkeypatch):
    """The bundle sees a computed tier beside the user's."""
    blocks = (Block("resmem", ("resmem",), False), Block("text", ("length",), False))
    entry = type(TEXT)("text-1", identity={"columns": {"length": 1}}, user_provided=True)
    make_bundle(blocks, tiers={"text": entry}).save(Root(str(tmp_path)), "b")
    monkeypatch.setattr(scoring, "make_bundle_tiers", lambda b: (b.metadata.configs, [BrightnessScorer()]))
    lengths = {"text": {"length": np.array([1.0, 2.0, 3.0])}}
    with Scorer(tmp_path / "b") as scorer:
        frame = scorer.predict(["v/dark #1.mp4", "v/text.mp4", "v/light 100%.mp4"], lengths)
        alone = scorer.predict("v/light 100%.mp4", {"text": {"length": np.array([3.0])}})
    assert frame["score"].isna().tolist() == [False, True, False]
    assert frame["share_text"].isna().tolist() == [False, True, False]
    assert frame["score"][2] == pytest.approx(alone["score"][0], abs=1e-7)


def test_values_that_are_not_finite_are_a_row(pretrained, monkeypatch):
    class Overflowing(BrightnessScorer):
        def compute(self, windows):
            return [{"resmem": WeightedValue(np.array(np.inf), 1), "resmem_spread": WeightedValue(np.array(0.0), 1)}]

    pretrained.tiers = [Overflowing()]
    frame = pretrained.predict(np.zeros((2, 4, 4, 3), np.uint8))
    assert frame["reason"][0].startswith("tier resmem: resmem")
    with pytest.raises(FeatureError, match=r"^\[0\]: tier resmem"):
        pretrained.predict(np.zeros((2, 4, 4, 3), np.uint8), on_error="raise")


def test_curves_of_several_clips_and_why_one_has_none(pretrained, clips):
    frame = pretrained.over_time("v", SlidingWindowConfig(window=1, step=1))
    assert frame["clip_id"].tolist() == ["v/cut.mp4", "v/dark #1.mp4", "v/light 100%.mp4", "v/text.mp4"]
    np.testing.assert_allclose(frame["times"][1], [0.5, 1.5, 2.5])  # 45 frames at 15 a second, windows of a second
    np.testing.assert_allclose(frame["curve"][1], [0.2] * 3, atol=0.01)
    assert frame["times"][3] is None
    assert frame["curve"][3] is None
    assert frame["reason"][3]
    assert len(frame.iloc[[1, 2]].explode(["times", "curve"])) == 6
    with pytest.raises(DecodeError, match=r"^v/text\.mp4: "):
        pretrained.over_time(clips.name + "/text.mp4", on_error="raise")


def test_a_scorer_tells_what_it_is(pretrained, scorer):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert repr(scorer) == (
        f"Scorer(small: text on {device}; training clips unknown; 90 % intervals calibrated on val (20 clips))"
    )
    words = repr(pretrained)
    assert words.startswith(f"Scorer(resmem: resmem on {device}; trained elsewhere on images of LaMem and MemCat")
    assert "no intervals: it was not calibrated here" in words


def test_progress_shows_where_it_is_wanted(pretrained, capsys):
    given = [np.zeros((4, 4, 3), np.uint8)] * 5
    pretrained.predict(given, progress=True)
    assert "5/5" in capsys.readouterr().err
    pretrained.predict(given)
    assert capsys.readouterr().err == "", "no terminal"


def test_leaving_the_context_ends_the_decoder(pretrained, clips):
    with pretrained as scorer:
        scorer.predict("v/dark #1.mp4")
        child = scorer.decoder._child
    assert child.poll() is not None


@pytest.mark.skipif(find_spec("resmem") is None, reason="the package resmem is not installed (extra m3ray[resmem])")
def test_resmem_scores_a_clip_and_an_array(clips):
    with m3ray.load("resmem") as scorer:
        frame = scorer.predict([clips / "light 100%.mp4", np.full((64, 64, 3), 204, np.uint8)])
        curve = scorer.over_time(clips / "light 100%.mp4", SlidingWindowConfig(window=1, step=1))
    assert frame["score"].between(0, 1).all()
    assert frame["spread"][1] == 0, "one frame"
    assert abs(frame["score"][0] - frame["score"][1]) < 0.05, "the same grey"
    assert len(curve["curve"][0]) == 3
