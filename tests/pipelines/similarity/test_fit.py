"""Similarity tiers on a root: what is fitted, written, cached and skipped. Tasks run here instead of on Ray."""

import numpy as np
import pyarrow as pa
import pytest
from made_roots import made_root

from m3ray.config import SimilarityConfig
from m3ray.errors import StudyError
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.similarity import fit
from m3ray.pipelines.similarity.fit import fit_every_measure, fit_similarity_tier
from m3ray.similarity import MEASURES
from m3ray.similarity.fitted import FittedSimilarity
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.tier_index import read_tier_index, read_tier_table

CONFIG = SimilarityConfig(measure="cosine_mean", sources=("scene",), components=3)
CLUSTER = Resources(2, 0)


class Task:
    """A Ray task that runs at once, and counts how often."""

    def __init__(self, remote):
        self.function, self.calls = remote._function, 0

    def options(self, **_resources):
        return self

    def remote(self, *arguments):
        self.calls += 1
        return self.function(*arguments)


class Blocks:
    """A Ray data set of one block."""

    def __init__(self, table):
        self.table = table

    def map_batches(self, function, **_options):
        return Blocks(function(self.table))

    def to_arrow_refs(self):
        return [self.table]


@pytest.fixture
def tasks(monkeypatch):
    task = Task(fit._fit_task)
    monkeypatch.setattr(fit, "_fit_task", task)
    monkeypatch.setattr(fit, "_project_task", Task(fit._project_task))
    monkeypatch.setattr(fit.ray, "put", lambda value: value)
    monkeypatch.setattr(fit.ray, "get", lambda value: value)
    monkeypatch.setattr(fit.ray.data, "from_arrow", Blocks)
    return task


@pytest.fixture
def root(tmp_path):
    return made_root(tmp_path, rows=40)


def fit_here(root):
    """The same measure, fitted without any of this module's code."""
    scene = read_tier_table(root, "scene")
    vectors = dict(zip(scene["clip_id"].to_pylist(), np.array(scene["scene"].to_pylist(), np.float32), strict=True))
    catalogue = read_catalogue(root).to_pandas().set_index("clip_id")
    train = [clip for clip in catalogue.index if catalogue.loc[clip, "split"] == "train"]
    rows = {"scene": np.stack([vectors[clip] for clip in train])}
    return FittedSimilarity.fit(CONFIG, rows, None, []), train, vectors


def test_train_rows_leave_themselves_out_and_others_do_not(root, tasks):
    fit_similarity_tier(root, read_catalogue(root), CONFIG, CLUSTER)
    table = read_tier_table(root, "similarity")
    assert table["clip_id"].to_pylist() == [f"c{k:04d}" for k in range(40)]
    rows = dict(zip(table["clip_id"].to_pylist(), table["similarity"].to_pylist(), strict=True))
    fitted, train, vectors = fit_here(root)
    np.testing.assert_allclose([rows[clip] for clip in train], fitted.transform_train(), atol=1e-5)
    others = sorted(set(rows) - set(train))
    expected = fitted.transform({"scene": np.stack([vectors[clip] for clip in others])})
    np.testing.assert_allclose([rows[clip] for clip in others], expected, atol=1e-5)


def test_what_a_root_has_is_not_fitted_again(root, tasks, capsys):
    fit_similarity_tier(root, read_catalogue(root), CONFIG, CLUSTER)
    entry = read_tier_index(root)["similarity"]
    fit_similarity_tier(root, read_catalogue(root), CONFIG, CLUSTER)
    assert tasks.calls == 1
    assert "similarity: 40 clips cached (cosine_mean)" in capsys.readouterr().out
    assert read_tier_index(root)["similarity"] == entry
    assert (entry.untrained, entry.config["measure"]) == (True, "cosine_mean"), "as the scene tier"
    root.delete("artifacts", f"{entry.folder}.json")  # what is written last: without it a fit is not complete
    fit_similarity_tier(root, read_catalogue(root), CONFIG, CLUSTER)
    assert tasks.calls == 2


def test_a_measure_that_cannot_be_fitted_is_an_error_or_a_reason(root, tasks, capsys):
    """There is no label: prototypes need one."""
    catalogue = read_catalogue(root)
    with pytest.raises(StudyError, match="similarity: EuclideanPrototypes needs labels"):
        fit_similarity_tier(root, catalogue, SimilarityConfig("euclidean_prototypes", ("scene",), 3), CLUSTER)
    assert "similarity" not in read_tier_index(root)
    reasons = fit_every_measure(root, catalogue, CONFIG, CLUSTER)
    assert {"fractional_prototypes", "euclidean_prototypes", "kde_labels"} <= set(reasons)
    done = {tier.partition(":")[2] for tier in read_tier_index(root) if tier.startswith("similarity:")}
    assert done == set(MEASURES) - set(reasons) - {"cosine_mean"}, "the measure of M3-S is the tier similarity"
    assert "similarity: kde_labels skipped" in capsys.readouterr().out


def test_numbers_are_fixed_size_vectors_in_float32():
    table = fit._make_table(["a", "b"], np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert table.schema.field("similarity").type == pa.list_(pa.float32(), 2)
    assert table["similarity"].to_pylist() == [[1.0, 2.0], [3.0, 4.0]]
