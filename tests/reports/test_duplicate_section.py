"""Near duplicates on the page: which are shown, and what is said of them."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from made_reports import HOSTILE

from m3ray.config.presets import CARBON
from m3ray.datasets.catalogue import write_catalogue
from m3ray.datasets.duplicates import DUPLICATES_FILE, DUPLICATES_SCHEMA
from m3ray.reports import duplicate_section
from m3ray.reports.duplicate_section import add_duplicates
from m3ray.reports.page import build_report
from m3ray.reports.run_section import start_page
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.parquet_tables import METADATA_KEY
from m3ray.storage.root import Root

CLIPS = [
    Clip("a", "", "val", 0.5),
    Clip("b", "", "val"),
    Clip("c", "", "val", 0.25),
    Clip(HOSTILE, "", "train", 0.75),
    Clip("e", "", "val"),
]


@pytest.fixture
def root(tmp_path):
    root = Root(str(tmp_path))
    write_catalogue(root, catalogue_table(CLIPS), 0)
    return root


def find(root, *rows):
    table = pa.Table.from_pylist(
        [dict(zip(DUPLICATES_SCHEMA.names, row, strict=True)) for row in rows], DUPLICATES_SCHEMA
    )
    root.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps({"threshold": 0.95})}), *DUPLICATES_FILE)


def add(root):
    page = start_page(root, {}, CARBON, None)
    add_duplicates(root, page)
    return page.duplicates


def test_groups_on_two_sides_come_first_with_a_clip_of_each(root):
    groups = [("a", 0, "content", 1.0, "b"), ("b", 0, "content", 1.0, "a")]
    groups += [
        ("c", 1, "vectors", 0.96, HOSTILE),
        (HOSTILE, 1, "vectors", 0.97, "e"),
        ("e", 1, "vectors", 0.97, HOSTILE),
    ]
    find(root, *groups)
    shown = add(root)
    first, second = shown["rows"]
    assert [clip["id"] for clip in first["clips"]] == [HOSTILE, "e"]
    assert [clip["split"] for clip in first["clips"]] == ["train", "val"]
    assert [clip["score"] for clip in first["clips"]] == ["0.750", ""]
    assert (first["count"], first["sides"], first["kind"], first["similarity"]) == (3, "two", "vectors", "0.970")
    assert [clip["id"] for clip in second["clips"]] == ["a", "b"]
    assert (second["count"], second["sides"], second["kind"]) == (2, "one", "content")
    assert "5 clips in 2 groups" in shown["note"]
    assert "at least 0.95" in shown["note"]
    assert "1 of them stands on two sides" in shown["note"]
    text = Path(build_report(root.uri)).read_text()
    assert '<h2 id="duplicates">Near duplicates</h2>' in text
    assert HOSTILE not in text


def test_more_groups_than_fit_are_counted(root, monkeypatch):
    monkeypatch.setattr(duplicate_section, "MOST_GROUPS", 1)
    find(
        root,
        ("a", 0, "content", 1.0, "b"),
        ("b", 0, "content", 1.0, "a"),
        ("c", 1, "vectors", 0.96, "e"),
        ("e", 1, "vectors", 0.96, "c"),
    )
    shown = add(root)
    assert (len(shown["rows"]), shown["left"]) == (1, 1)
    assert shown["file"].endswith("duplicates.parquet")


def test_a_root_without_near_duplicates_has_no_such_section(root):
    assert add(root) is None
    find(root)
    assert add(root) is None
