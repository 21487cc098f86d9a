"""Tables that once went wrong in silence: each is the smallest input of its fault (shared/cases), with its right value.

`s3-double-slash` is in test_folder, `drawn-split-leak` in test_identity.
"""

import pytest

from m3ray.datasets.registry import list_clips
from m3ray.errors import SchemaError, UserError
from m3ray.storage.root import Root


def listed(tmp_path, text):
    (tmp_path / "clips.csv").write_text(text)
    return list_clips(Root(str(tmp_path / "out")), "table", str(tmp_path / "clips.csv"), limit=None, seed=0)


CASES = {
    "csv-leading-zeros": (
        "uri,score\n007,0.8\n010,0.3\n",
        [("007", 0.8, []), ("010", 0.3, [])],
    ),
    "csv-trailing-comma": (
        "uri,score\na.mp4,0.5,\nb.mp4,0.6,\n",
        [("a.mp4", 0.5, []), ("b.mp4", 0.6, [])],
    ),
    "numeric-labels": (
        "uri,score,labels\na.mp4,0.5,3\nb.mp4,0.5,7\n",
        [("a.mp4", 0.5, ["3"]), ("b.mp4", 0.5, ["7"])],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_table_is_read_as_it_is_written(tmp_path, case):
    text, expected = CASES[case]
    table = listed(tmp_path, text).table
    assert table["clip_id"].to_pylist() == [name for name, *_ in expected]  # type: ignore[attr-defined]
    assert table["uri"].to_pylist() == [f"{tmp_path}/{name}" for name, *_ in expected]  # type: ignore[attr-defined]
    assert table["score"].to_pylist() == [score for _, score, _ in expected]  # type: ignore[attr-defined]
    assert table["labels"].to_pylist() == [labels for *_, labels in expected]  # type: ignore[attr-defined]


def test_a_header_alone_is_one_line_and_exit_status_2(tmp_path):
    """The case header-only-csv."""
    with pytest.raises(UserError, match=r"clips\.csv holds no clip: there is no row beneath its header") as error:
        listed(tmp_path, "uri,score\n")
    assert error.value.exit_status == 2
    assert isinstance(error.value, SchemaError)
