"""The column `captions` of a catalogue."""

import pyarrow as pa
import pytest

from m3ray.datasets.captions import check_captions, read_captions
from m3ray.datasets.table import read_table
from m3ray.errors import ConfigError

TEXTS = pa.array(["a dog | a park", "", None, " one "])
LISTS = pa.array([["a dog", " a park "], [], None, ["", "one", None]])


def clips(**columns):
    return pa.table({"clip_id": ["a", "b", "c", "d"], **columns})


@pytest.mark.parametrize("column", [TEXTS, LISTS, TEXTS.dictionary_encode(), LISTS.cast(pa.large_list(pa.string()))])
def test_captions_are_texts_or_lists_of_texts(column):
    assert read_captions(clips(captions=column)) == [("a dog", "a park"), (), (), ("one",)]


@pytest.mark.parametrize("columns", [{}, {"captions": pa.nulls(4)}, {"captions": pa.array([[], None, [], []])}])
def test_there_may_be_none(columns):
    assert not any(read_captions(clips(**columns)))
    check_captions(clips(**columns), ["raw", "text"])
    with pytest.raises(ConfigError, match=r"none of the 4 clips has a caption .*: give a table with a column captions"):
        check_captions(clips(**columns), ["raw", "captions"])


def test_numbers_are_no_captions():
    with pytest.raises(ConfigError, match=r"column captions holds double, expected a text, several with \| between"):
        check_captions(clips(captions=[0.1, 0.2, 0.3, None]), ["captions"])


@pytest.mark.parametrize("cell", ["3", "2.5", "true", '["a", 2]', '{"a": 1}', "-1e3"])
def test_a_text_that_is_no_words_is_refused_as_it_is_where_a_file_tells_types(cell):
    """Of CSV, all is text; of JSON lines, a column of several types."""
    with pytest.raises(ConfigError) as caught:
        read_captions(clips(captions=["a dog", cell, None, ""]))
    assert str(caught.value).startswith(f"column captions of clip b is {cell}, expected words")


@pytest.mark.parametrize("cell", ["nan", "NaN", "NA", "null", "None", " n/a "])
def test_what_programs_write_where_a_text_is_missing_is_no_caption(cell):
    assert read_captions(clips(captions=["a dog", cell, f"{cell}|a cat", "none of them"])) == [
        ("a dog",),
        (),
        (cell.strip(), "a cat"),
        ("none of them",),
    ]


def test_a_list_of_texts_may_be_written_as_json():
    column = ['["a dog", " a park ", ""]', "[music plays]", "7 dogs", "(1, 2)"]
    assert read_captions(clips(captions=column)) == [
        ("a dog", "a park"),
        ("[music plays]",),
        ("7 dogs",),
        ("(1, 2)",),
    ]


@pytest.mark.parametrize(("suffix", "cells"), [("csv", ["a dog", "3"]), ("jsonl", ['"a dog"', "3"])])
def test_a_number_among_texts_is_refused_from_every_format(tmp_path, suffix, cells):
    path = tmp_path / f"t.{suffix}"
    if suffix == "csv":
        path.write_text("uri,captions\n" + "".join(f"{k}.mp4,{cell}\n" for k, cell in enumerate(cells)))
    else:
        path.write_text("".join(f'{{"uri": "{k}.mp4", "captions": {cell}}}\n' for k, cell in enumerate(cells)))
    with pytest.raises(ConfigError, match=r"column captions of clip 1\.mp4 is 3, expected words"):
        check_captions(read_table(str(path)).table, ["captions"])


def test_one_caption_suffices():
    check_captions(clips(captions=[None, None, None, "a dog"]), ["captions"])
