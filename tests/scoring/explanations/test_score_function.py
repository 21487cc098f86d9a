"""Scores of versions: by each run of a bundle, with user-provided tiers as they are."""

import numpy as np
from made_bundles import NAMES, TEXT, make_bundle
from small_maps import ContrastTier, SmallScorer

from m3ray.features.matrix import Features
from m3ray.scoring.explanations.score_function import ScoreFunction


class TextScorer:
    """A scorer of a bundle that sees a user-provided tier alone."""

    def __init__(self):
        self.bundle = make_bundle(tiers={"text": TEXT})

    def select_columns(self, rows, ids, provided):
        values = np.concatenate([provided["text/text"], provided["text/length"][:, None]], axis=1)
        return Features(tuple(ids), values.astype(np.float32), tuple(self.bundle.blocks))


def test_a_score_for_each_run_and_version():
    scorer = TextScorer()
    provided = {"text/text": np.ones((1, 3), np.float32), "text/length": np.ones(1, np.float32)}
    found = ScoreFunction(scorer, provided)([{}, {}, {}])
    expected = scorer.bundle._predict(np.ones((1, len(NAMES)), np.float32))
    assert found.shape == (2, 3), "two runs, three versions"
    np.testing.assert_allclose(found, np.repeat(expected, 3, axis=1), atol=1e-6)


def test_a_pretrained_scorer_has_one_run():
    rows = [{"resmem": {"resmem": np.array(value), "resmem_spread": np.array(0.1)}} for value in (0.2, 0.8)]
    score = ScoreFunction(SmallScorer(ContrastTier()), {})
    np.testing.assert_allclose(score(rows), [[0.2, 0.8]], rtol=1e-6)
    assert score.select(rows[:1], ["a"]).clip_ids == ("a",)
