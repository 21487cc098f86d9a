"""Groups of clips of one source: how they are numbered, and which given splits go with them."""

import numpy as np
import pyarrow as pa
import pytest

from m3ray.datasets.groups import check_groups, join_numbers, name_groups, number_groups
from m3ray.errors import ConfigError, SchemaError
from m3ray.schema import Clip, catalogue_table


@pytest.mark.parametrize(
    "values",
    [["x", "y", None, "x", "", "y"], [" x", "y", "  ", "x ", None, "y"], [7, 8, None, 7, None, 8],
     [7.5, 8.0, float("nan"), 7.5, None, 8.0]],
    ids=["text", "blanks", "integers", "numbers"],
)  # fmt: skip
def test_clips_of_one_value_share_a_number_and_clips_without_have_their_own(values):
    numbers = number_groups(pa.chunked_array([values])).tolist()
    assert numbers[0] == numbers[3]
    assert numbers[1] == numbers[5]
    assert len(set(numbers)) == 4
    assert min(numbers) == 0


def test_columns_without_a_group_and_without_a_clip():
    assert number_groups(pa.chunked_array([pa.nulls(3, pa.string())])).tolist() == [0, 1, 2]
    assert number_groups(pa.chunked_array([["a", "a"]])).tolist() == [0, 0]
    assert number_groups(pa.chunked_array([pa.array([], pa.string())])).tolist() == []


def test_groups_are_texts():
    assert name_groups(pa.chunked_array([[1, None, 3]])).to_pylist() == ["1", None, "3"]


def brute_force(one, other):
    """Which clips are joined, by walking from clip to clip."""
    count = len(one)
    linked = (np.equal.outer(one, one) | np.equal.outer(other, other)).astype(int)
    return np.linalg.matrix_power(linked, count) > 0


@pytest.mark.parametrize("seed", range(20))
def test_numbers_are_joined_through_others(seed):
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, 9, (2, 12))
    joined = join_numbers(one, other)
    np.testing.assert_array_equal(np.equal.outer(joined, joined), brute_force(one, other))
    assert set(joined) == set(range(joined.max() + 1))


def test_a_long_chain_is_one():
    chain = np.arange(200)
    assert set(join_numbers(chain // 2, (chain + 1) // 2)) == {0}


def clips(*rows):
    return catalogue_table(
        [Clip(f"c{k}", f"/{k}", split, extra={"film": film}) for k, (film, split) in enumerate(rows)]
    )


def test_splits_that_keep_groups_whole_are_fine():
    table = clips(("x", "train"), ("x", None), ("y", "val"), (None, "val"), (None, "train"))
    assert check_groups(table, "film") == (
        "groups: 2 by film, the largest of 2 clips; 2 clips without one, each on its own",
    )
    assert check_groups(table, None) == ()
    assert check_groups(clips((None, None)).set_column(5, "film", [pa.nulls(1, pa.string())]), "film") == (
        "groups: 0 by film; 1 clips without one, each on its own",
    )


def test_a_split_that_divides_groups_is_refused_with_an_example():
    table = clips(("x", "train"), ("y", "train"), ("z", "val"), ("x", "test"), ("y", "val"))
    with pytest.raises(SchemaError, match=r"--group film: .* put 2 of 3 groups on two sides.*leave the splits out"):
        check_groups(table, "film")


@pytest.mark.parametrize("name", ["movie", "split", "score", "labels"])
def test_what_names_no_source_is_refused(name):
    with pytest.raises(ConfigError, match=f"--group {name}: expected a column .* there are clip_id, uri, film"):
        check_groups(clips(("x", None)), name)


def test_a_column_of_lists_is_refused():
    with pytest.raises(ConfigError, match="--group film: a column of list"):
        check_groups(clips((["x"], None)), "film")
