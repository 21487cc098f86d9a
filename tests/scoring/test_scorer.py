"""The scorer in one process: columns that a model sees, user-provided tiers, similarity of new clips."""

import numpy as np
import pytest

import m3ray
from m3ray.config import SimilarityConfig, SlidingWindowConfig
from m3ray.errors import DecodeError, FeatureError
from m3ray.features.dataset import Scaling
from m3ray.features.matrix import Block
from m3ray.model import StackedMLP
from m3ray.scoring import scorer as scoring
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.bundle_metadata import BundleMetadata
from m3ray.scoring.scorer import Scorer, compute_similarity, load_similarity, make_bundle_tiers, select_features
from m3ray.similarity.fitted import FittedSimilarity
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry
from m3ray.tiers import WeightedValue
from m3ray.video.metadata import VideoMetadata

TEXT = TierEntry("text-1", identity={"columns": {"text": 3, "length": 1}}, user_provided=True)
NAMES = ("text_0", "text_1", "text_2", "length")


BLOCKS = (Block("text", NAMES, False),)


def make_bundle(blocks=BLOCKS, **metadata):
    width = sum(len(block.names) for block in blocks)
    zeros = np.zeros(width, np.float32)
    return Bundle(
        name="small",
        model=StackedMLP(width, (4,), [0, 1]).eval(),
        blocks=blocks,
        scaling=Scaling(zeros, zeros + 1),
        baseline=zeros,
        residuals=np.linspace(0, 0.1, 20, dtype=np.float32),
        metadata=BundleMetadata(False, **metadata),
        files={},
    )


@pytest.fixture
def scorer(tmp_path):
    make_bundle(tiers={"text": TEXT}).save(Root(str(tmp_path)), "b")
    loaded = Scorer(tmp_path / "b")
    yield loaded
    loaded.close()


def test_columns_are_selected_by_tier_and_name_in_the_model_s_order():
    blocks = (Block("raw", ("hog_1", "brightness"), True), Block("text", ("length",), False))
    columns = {
        "raw/brightness": np.array([1.0, 2.0]),
        "raw/hog": np.array([[3.0, 4.0], [5.0, 6.0]]),
        "text/length": np.array([7.0, 8.0]),
        "scene/brightness": np.array([9.0, 9.0]),
    }
    features = select_features(make_bundle(blocks), ["a", "b"], columns)
    assert features.clip_ids == ("a", "b")
    assert features.values.tolist() == [[4, 1, 7], [6, 2, 8]]
    assert features.blocks == blocks


def test_similarity_of_new_clips_is_the_fitted_measure_s():
    rng = np.random.default_rng(0)
    train = {"scene": rng.standard_normal((30, 12))}
    config = SimilarityConfig(measure="cosine_mean", sources=("scene",), components=3)
    fitted = FittedSimilarity.fit(config, train, None, [])
    new = rng.standard_normal((4, 12))
    columns = compute_similarity(fitted, {"scene/scene": new, "raw/brightness": np.zeros(4)})
    expected = fitted.transform({"scene": new})
    assert list(columns) == [f"similarity/{name}" for name in fitted.columns]
    np.testing.assert_array_equal(np.stack(list(columns.values()), axis=1), expected)
    tensors, text = fitted.to_bytes()
    bundle = make_bundle()
    assert load_similarity(bundle) is None
    bundle = Bundle(**{**vars(bundle), "files": {"similarity.safetensors": tensors, "similarity.json": text}})
    np.testing.assert_allclose(load_similarity(bundle).transform({"scene": new}), expected)


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
    monkeypatch.setattr(scorer._decoder, "windows", lambda _: [(metadata, frames[k : k + 2]) for k in (0, 2, 4)])
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
    monkeypatch.setattr(scorer._decoder, "windows", fail)
    with pytest.raises(DecodeError, match=r"^a\.mp4: packet 3 does not decode") as error:
        scorer.features("a.mp4")
    assert (error.value.reason, error.value.stage) == ("damaged", "decode")


def test_scores_over_time_are_those_of_each_window_alone(video, monkeypatch):
    scorer, _ = video
    rows = []

    def score(windows, ids, _tiers):
        rows.extend(windows)
        return {"score": np.arange(len(ids)) / 10}

    monkeypatch.setattr(scorer, "_score", score)
    frame = scorer.over_time("a.mp4", SlidingWindowConfig(window=0.4, step=0.4))  # two frames each, at 5 a second
    assert [row["text"]["text"] for row in rows] == [0.5, 2.5, 3.5], "the last window ends where the clip does"
    np.testing.assert_allclose(frame["seconds"], [0.2, 0.6, 0.8])
    assert frame["score"].tolist() == [0.0, 0.1, 0.2]


def test_load_gives_a_scorer(tmp_path):
    make_bundle(tiers={"text": TEXT}).save(Root(str(tmp_path)), "b")
    loaded = m3ray.load(tmp_path / "b")
    assert isinstance(loaded, Scorer)
    loaded.close()
