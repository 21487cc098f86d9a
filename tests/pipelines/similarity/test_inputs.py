"""What similarity is fitted on, and when it is fitted again."""

import pyarrow as pa
import pytest
from digest_tier import compute, fill, write_scored

from m3ray.config import SimilarityConfig
from m3ray.features.load import load_data
from m3ray.pipelines.similarity.inputs import CODE_VERSION, SimilarityClips, code_version, select_source_tiers
from m3ray.schema import vector_schema
from m3ray.similarity import MEASURES
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, update_tier_index


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "root"))


def test_what_was_fitted_on_a_changed_clip_is_fitted_and_trained_again(root, tmp_path):
    """Similarity's folder is named by the train clips' contents, a study's parts by those of all clips."""
    fill(tmp_path / "v", 12)
    config = SimilarityConfig(sources=("one",))

    def state():
        catalogue = write_scored(root, tmp_path)
        compute(root, catalogue)
        clips = SimilarityClips.read(root, catalogue, config)
        return clips, clips.folder(config), load_data(root, ["one", "two"]).key

    clips, where, key = state()
    root.write_shard(clips.add_contents(pa.table({"clip_id": [f"{k:02d}" for k in range(12)]})), where, {})
    root.write_json({}, "artifacts", f"{where[1]}.json")
    again, where_again, key_again = state()
    assert (where_again, key_again, again.has_current(where)) == (where, key, True)
    (tmp_path / "v" / "4" / "0011.mp4").write_bytes(b"a val clip")
    val, where_val, key_val = state()
    assert where_val == where, "the fit does not depend on it"
    assert not val.has_current(where), "but its own row does"
    assert val.count_changed(where) == 1
    assert key_val != key
    (tmp_path / "v" / "3" / "0003.mp4").write_bytes(b"a train clip")
    _, where_train, key_train = state()
    assert where_train != where
    assert key_train not in (key, key_val)


def test_fits_of_an_older_version_keep_their_names(root, tmp_path):
    """Both names by the version before contents were kept (commit fd973d6), from this very root."""
    write_scored(root, tmp_path)
    for tier in ("one", "two"):
        rows = [{"clip_id": f"{k:02d}", tier: [float(k), 1.0]} for k in range(12)]
        root.write_shard(pa.Table.from_pylist(rows, schema=vector_schema(tier, 2)), ("features", f"{tier}-0"), {})
    update_tier_index(root, {tier: TierEntry(f"{tier}-0", identity={}) for tier in ("one", "two")})
    clips = SimilarityClips.read(root, read_catalogue(root), SimilarityConfig(sources=("one",)))
    assert clips.folder(clips.config)[1] == "similarity-6efec1abf6"
    assert load_data(root, ["one", "two"]).key == "f41351be5f"


def test_measures_whose_numbers_have_changed_are_fitted_anew():
    assert {name for name in MEASURES if code_version(name) != CODE_VERSION} == {
        "fractional_prototypes", "euclidean_prototypes", "kde", "kde_labels", "kde_kmeans",
    }  # fmt: skip


def test_a_pretrained_scorer_s_vectors_are_compared_where_they_are_meant_alone(root):
    def add(*tiers):
        update_tier_index(root, {tier: TierEntry(f"{tier}-1", identity={}) for tier in tiers})

    add("raw", "resmem", "captions")
    assert select_source_tiers(root, SimilarityConfig()) == []
    assert select_source_tiers(root, SimilarityConfig(sources=("resmem",))) == ["resmem"]
    add("torchvision:resnet18")
    assert select_source_tiers(root, SimilarityConfig()) == ["torchvision:resnet18"]
