from dataclasses import replace

import numpy as np
import pytest

from m3ray.config import SimilarityConfig, as_json
from m3ray.errors import ConfigError, StudyError
from m3ray.similarity import MEASURES
from m3ray.similarity.fitted import FittedSimilarity, describe_fit, label_matrix, make_measure


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


def test_few_columns_lower_the_components_and_say_so():
    narrow = {"scene": vectors(98)["scene"][:, :2]}
    with pytest.warns(UserWarning, match="scene has 2 columns, which allow 2 of 10 components"):
        fitted = FittedSimilarity.fit(SimilarityConfig(measure="fractional_mean"), narrow)
    assert fitted.parts["scene"][0].components == 2


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


def test_settings_reach_the_measures_that_have_them():
    settings = {"fractional_of": "mean", "cosine_of": "mean", "leave_one_out": False, "kde_kernel": "epanechnikov"}
    config = SimilarityConfig(**settings, kde_fewest=780, kde_clusters=20, dbscan_noise_column=False, seed=3)
    expected: dict[str, dict[str, object]] = {
        "fractional_mean": {"of": "mean", "leave_one_out": False},
        "fractional_prototypes": {"leave_one_out": False},
        "euclidean_prototypes": {"leave_one_out": False},
        "cosine_mean": {"of": "mean", "leave_one_out": False},
        "cosine_threshold": {"leave_one_out": False},
        "kde": {"kernel": "epanechnikov", "leave_one_out": False, "seed": 3},
        "kde_labels": {"kernel": "epanechnikov", "leave_one_out": False, "fewest": 780, "seed": 3},
        "kde_kmeans": {"kernel": "epanechnikov", "leave_one_out": False, "clusters": 20, "seed": 3},
        "dbscan": {"noise_column": False, "seed": 3},
        "knn_density": {},
    }
    assert set(expected) == set(MEASURES)
    for name, wanted in expected.items():
        found = make_measure(replace(config, measure=name), "scene").get_params()
        assert {key: found[key] for key in wanted} == wanted, name
        usual = make_measure(SimilarityConfig(measure=name), "scene")
        assert usual.get_params() == MEASURES[name]().get_params(), "the defaults are those of the classes"


def test_new_settings_leave_the_fingerprints_of_older_fits():
    assert set(as_json(SimilarityConfig())) == {
        "measure", "sources", "components", "eps_scene", "eps_event", "kde_fewest", "seed",
    }  # fmt: skip
    assert as_json(SimilarityConfig(kde_kernel="epanechnikov"))["kde_kernel"] == "epanechnikov"


def test_the_fit_is_described_by_its_key_numbers():
    assert describe_fit({"bandwidths_": np.array([0.5]), "train_": np.zeros(3)}) == {"bandwidth": 0.5}
    assert describe_fit({"bandwidths_": np.array([0.5, 0.08, 0.96])}) == {"bandwidths": "0.08 to 0.96"}
    assert describe_fit({"bandwidth_": 0.3}) == {"bandwidth": 0.3}, "of an older version"
    learned = {"eps_": 1.0, "noise_share_": 0.2, "largest_share_": 0.5, "predictor_accuracy_": None}
    assert describe_fit(learned) == {
        "eps": 1.0, "noise_share": 0.2, "largest_share": 0.5, "predictor_accuracy": None,
    }  # fmt: skip
