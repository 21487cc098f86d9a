"""What explains scores stands beside them, whichever of a root's files of scores they are in."""

import pytest

from m3ray.storage.beside_predictions import EXPLANATIONS, NEIGHBOURS, SHOTS, move_beside, place_beside, remove_beside
from m3ray.storage.root import Root


@pytest.mark.parametrize(
    ("predictions", "name", "place"),
    [
        (("predictions.parquet",), SHOTS, ("shots.parquet",)),
        (("predict", "predictions.parquet"), NEIGHBOURS, ("predict", "neighbours.parquet")),
        (("predict-0a", "predictions-resmem.parquet"), SHOTS, ("predict-0a", "shots-resmem.parquet")),
        (("predict", "predictions-timm_a.b.parquet"), EXPLANATIONS, ("predict", "explanations-timm_a.b")),
    ],
)
def test_each_file_of_scores_has_its_own(predictions, name, place):
    assert place_beside(predictions, name) == place


def test_what_stands_beside_scores_moves_with_them(tmp_path):
    root = Root(str(tmp_path))
    first, second = ("predictions.parquet",), ("predict", "predictions-b.parquet")
    files = [("neighbours.parquet",), ("shots.parquet",), ("explanations", "maps", "a"), ("explanations", "clips", "a")]
    for path in files:
        root.write_bytes(path[-1].encode(), *path)
    move_beside(root, first, second)
    assert not [path for path in files if root.exists(*path)]
    assert root.read_bytes("predict", "shots-b.parquet") == b"shots.parquet"
    assert root.read_bytes("predict", "explanations-b", "maps", "a") == b"a"
    assert root.list_names("predict") == ["explanations-b", "neighbours-b.parquet", "shots-b.parquet"]
    move_beside(root, first, second)
    assert root.list_names("predict") == [], "scores with nothing beside them replace such as had"


def test_a_file_that_is_not_there_is_removed_without_a_word(tmp_path):
    root = Root(str(tmp_path))
    root.write_bytes(b"x", "shots.parquet")
    for _ in range(2):
        remove_beside(root, ("predictions.parquet",), SHOTS)
        assert not root.exists("shots.parquet")
