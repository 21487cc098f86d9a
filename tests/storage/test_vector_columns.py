import numpy as np
import pyarrow as pa
import pytest

from m3ray.storage.vector_columns import column_values, is_vector

VECTORS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


@pytest.mark.parametrize("kind", [pa.list_(pa.float32(), 2), pa.list_(pa.float64()), pa.large_list(pa.float64())])
def test_vectors_are_rows_of_a_matrix(kind):
    values = column_values(pa.array(VECTORS, kind))
    np.testing.assert_array_equal(values, VECTORS)
    assert is_vector(kind)
    assert values.dtype == kind.value_type.to_pandas_dtype()


def test_chunks_are_put_together_and_slices_start_where_they_start():
    column = pa.chunked_array(
        [pa.array(VECTORS[:2], pa.list_(pa.float32(), 2)), pa.array(VECTORS[2:], pa.list_(pa.float32(), 2))]
    )
    np.testing.assert_array_equal(column_values(column), VECTORS)
    np.testing.assert_array_equal(column_values(column.slice(1)), VECTORS[1:])


def test_numbers_stay_one_dimensional():
    np.testing.assert_array_equal(column_values(pa.array([1, 2, 3])), [1, 2, 3])
    assert not is_vector(pa.int64())


def test_a_null_number_is_no_number():
    np.testing.assert_array_equal(column_values(pa.array([1.5, None])), [1.5, np.nan])


def test_no_rows_keep_their_width():
    assert column_values(pa.array([], pa.list_(pa.float32(), 7))).shape == (0, 7)
    assert column_values(pa.array([], pa.float32())).shape == (0,)


def test_vectors_of_different_widths_make_no_matrix():
    with pytest.raises(ValueError, match="reshape"):
        column_values(pa.array([[1.0, 2.0], [3.0]]))


def test_a_null_vector_leaves_objects():
    values = column_values(pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)))
    assert values.dtype == object
    assert values[1] is None
