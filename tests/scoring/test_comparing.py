"""`Scorer.compare` and `Scorer.neighbours`, with networks that are made up."""

from dataclasses import replace

import numpy as np
import pytest
from made_bundles import BrightnessScorer, make_bundle, make_pretrained

from m3ray.errors import FeatureError
from m3ray.features.matrix import Block
from m3ray.scoring import scorer as scoring
from m3ray.scoring.comparing import compare_clips, list_neighbours
from m3ray.scoring.reference.reference_file import ReferenceFile
from m3ray.scoring.reference.train_reference import make_reference
from m3ray.scoring.scorer import Scorer

GREYS = (51, 204, 102)  # a fifth, four fifths, two fifths of white


def frames(grey):
    return np.full((4, 32, 32, 3), grey, np.uint8)


def open_scorer(monkeypatch, bundle):
    monkeypatch.setattr(scoring, "open_bundle", lambda *_arguments, **_options: bundle)
    monkeypatch.setattr(
        scoring, "make_bundle_tiers", lambda _: (make_pretrained().metadata.configs, [BrightnessScorer()])
    )
    return Scorer("any")


@pytest.fixture
def bundle():
    """It sees the brightness of a clip, and what else the made-up network gives; 11 train clips, black to white."""
    blocks = (Block("resmem", ("resmem", "resmem_spread"), False),)
    bundle = make_bundle(blocks)
    values = np.stack([np.linspace(0, 1, 11), np.zeros(11)], 1).astype(np.float32)
    ids = [f"t{k}" for k in range(11)]
    reference = make_reference(ids, values, blocks, np.linspace(0.5, 0.9, 11), bundle.model)
    return replace(bundle, reference=ReferenceFile(reference.to_bytes()))


def test_they_are_methods_of_a_scorer():
    assert (Scorer.compare, Scorer.neighbours) == (compare_clips, list_neighbours)


def test_clips_are_ranked_by_their_predictions(monkeypatch, bundle):
    with open_scorer(monkeypatch, bundle) as scorer:
        clips = [frames(grey) for grey in GREYS]
        scores = scorer.predict(clips)["score"]
        table = scorer.compare(clips)
        assert table["score"].tolist() == sorted(scores, reverse=True)
        assert table["rank"].tolist() == [1, 2, 3]
        assert np.isfinite(table["p_best"]).all()
        assert "inside" in table


def test_neighbours_are_those_of_the_train_clips(monkeypatch, bundle):
    with open_scorer(monkeypatch, bundle) as scorer:
        table = scorer.neighbours([frames(grey) for grey in GREYS], count=2)
        assert set(table["space"]) == {"model"}, "two numbers are no place to have neighbours in"
        assert table["clip_id"].tolist() == ["[0]"] * 2 + ["[1]"] * 2 + ["[2]"] * 2
        # Greys of a fifth, four and two fifths are train clips 2, 8 and 4 themselves; beside each stand two others.
        assert [set(part["neighbour"]) for _, part in table.groupby("clip_id")] == [
            {"t1", "t3"},
            {"t7", "t9"},
            {"t3", "t5"},
        ]
        assert scorer.neighbours(["/no/such/file.mp4"]).empty


def test_without_train_clips_it_is_an_error_in_a_line(monkeypatch, bundle):
    for other, words in ((replace(bundle, reference=None), "older m3ray"), (make_pretrained(), "trained elsewhere")):
        with open_scorer(monkeypatch, other) as scorer:
            with pytest.raises(FeatureError, match=words):
                scorer.neighbours([frames(51)])
            assert "inside" not in scorer.columns
