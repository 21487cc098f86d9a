import numpy as np
import pytest

from m3ray.config import SimilarityConfig
from m3ray.errors import ConfigError, StudyError
from m3ray.similarity.fitted import FittedSimilarity, label_matrix, make_measure


def vectors(rows, seed=0):
    rng = np.random.default_rng(seed)
    return {"scene": rng.standard_normal((rows, 30)), "event": rng.standard_normal((rows, 50))}


@pytest.mark.filterwarnings("ignore:DBSCAN found")
@pytest.mark.parametrize("measure", ["dbscan", "fractional_mean", "kde"])
def test_the_fit_survives_a_round_trip(measure):
    fitted = FittedSimilarity.fit(SimilarityConfig(measure=measure), vectors(60))
    again = FittedSimilarity.from_bytes(*fitted.to_bytes())
    new = vectors(9, seed=1)
    np.testing.assert_array_equal(again.transform(new), fitted.transform(new))
    assert again.columns == fitted.columns
    assert fitted.transform(new).shape == (9, len(fitted.columns))


def test_columns_name_tier_and_measure():
    fitted = FittedSimilarity.fit(SimilarityConfig(measure="fractional_mean"), vectors(60))
    assert fitted.columns == ("similarity_scene_fractional_mean", "similarity_event_fractional_mean")


def test_few_clips_lower_the_components_and_say_so():
    with pytest.warns(UserWarning, match="5 train clips allow 4 of 10 components"):
        fitted = FittedSimilarity.fit(SimilarityConfig(measure="fractional_mean"), vectors(5))
    assert fitted.parts["scene"][0].components == 4


def test_eps_is_each_tier_s_own():
    config = SimilarityConfig(eps_scene=1.25, eps_event=0.9)
    assert make_measure(config, "scene").get_params()["eps"] == 1.25
    assert make_measure(config, "event").get_params()["eps"] == 0.9


def test_errors_are_named():
    with pytest.raises(ConfigError, match="unknown measure 'nearest'"):
        make_measure(SimilarityConfig(measure="nearest"), "scene")
    with pytest.raises(StudyError, match="needs the scene or the event tier"):
        FittedSimilarity.fit(SimilarityConfig(), {})


def test_label_matrix():
    matrix, names = label_matrix([["b", "a"], [], ["b"]])
    assert names == ["a", "b"]
    assert matrix.tolist() == [[True, True], [False, False], [False, True]]
