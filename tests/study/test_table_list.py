"""The list of a study's tables, in the form that earlier releases wrote and read."""

import json
from dataclasses import replace

import pytest

from m3ray.storage.root import Root
from m3ray.study.table_list import MeasureNotes, TableList, read_table_list, write_table_list

FOLDER = ("study", "ablation")
LIST = TableList(
    {1: ("raw, all features",), 3: ("M3-S", "M3"), 2: ("M3-S, unfrozen", "M3-S")},
    MeasureNotes("dbscan", "M3-S", {"kde_labels": "no label has 150 train clips"}),
)
TEXT = """{
 "1": [
  "raw, all features"
 ],
 "3": [
  "M3-S",
  "M3"
 ],
 "2": [
  "M3-S, unfrozen",
  "M3-S"
 ],
 "measures": {
  "own": "dbscan",
  "full": "M3-S",
  "skipped": {
   "kde_labels": "no label has 150 train clips"
  }
 }
}
"""


def test_the_file_is_the_same_to_the_byte(tmp_path):
    root = Root(str(tmp_path))
    write_table_list(LIST, root, FOLDER)
    assert (tmp_path / "study" / "ablation" / "tables.json").read_text() == TEXT
    assert read_table_list(root, FOLDER) == LIST
    assert list(read_table_list(root, FOLDER).variants) == [1, 3, 2], "in the order asked for"


def test_notes_are_kept_and_a_list_without_any_is_as_it_was(tmp_path):
    root = Root(str(tmp_path))
    noted = replace(LIST, notes={"settings": "They are shared.", "splits": "There are five."})
    write_table_list(noted, root, FOLDER)
    assert read_table_list(root, FOLDER) == noted
    assert noted.as_json() == {**LIST.as_json(), "notes": {"settings": "They are shared.", "splits": "There are five."}}
    assert TableList.from_json(json.loads(TEXT)).notes == {}, "what earlier releases wrote"


def test_a_study_without_tables_or_similarity_has_none():
    empty = TableList.from_json({"measures": {"own": None, "full": "M3", "skipped": {}}})
    assert empty == TableList({}, MeasureNotes(None, "M3"))


@pytest.mark.parametrize("values", [{}, {"1": ["M3"]}, {"one": [], "measures": {"own": None, "full": "M3"}}])
def test_what_is_no_such_list_is_not_read(values):
    with pytest.raises((KeyError, ValueError)):
        TableList.from_json(json.loads(json.dumps(values)))
