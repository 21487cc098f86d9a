"""The one reader of a root's catalogue."""

import pyarrow as pa
import pytest

from m3ray.errors import DamagedFileError, StudyError
from m3ray.schema import CATALOGUE_FILE, Clip, catalogue_table
from m3ray.storage.catalogue_file import has_catalogue, read_catalogue, read_catalogue_schema
from m3ray.storage.root import Root

TABLE = catalogue_table([Clip("a", "/v/a.mp4", "train", 0.5, ("x",)), Clip("b", "/v/b.mp4", "val")])


@pytest.fixture
def root(tmp_path):
    root = Root(str(tmp_path / "out"))
    root.write_table(TABLE, CATALOGUE_FILE)
    return root


def test_a_catalogue_is_read_whole_or_by_columns(root):
    assert has_catalogue(root)
    assert read_catalogue(root).equals(TABLE)
    assert read_catalogue(root, ("clip_id", "split")).to_pydict() == {"clip_id": ["a", "b"], "split": ["train", "val"]}


def test_the_metadata_of_its_columns_are_read_too(tmp_path):
    marked = pa.field("frames", pa.int32(), metadata={b"m3ray.learned": b"frames"})
    root = Root(str(tmp_path))
    root.write_table(TABLE.append_column(marked, pa.array([1, 2], pa.int32())), CATALOGUE_FILE)
    assert read_catalogue_schema(root).field("frames").metadata[b"m3ray.learned"] == b"frames"


@pytest.mark.parametrize("read", [read_catalogue, read_catalogue_schema])
def test_a_root_without_one_says_which_job_makes_it(tmp_path, read):
    root = Root(str(tmp_path / "none"))
    assert not has_catalogue(root)
    with pytest.raises(StudyError, match=r"none/catalogue\.parquet does not exist: run jobs/extract\.py --out .*none"):
        read(root)


@pytest.mark.parametrize("read", [read_catalogue, read_catalogue_schema])
def test_a_file_that_is_no_table_is_damaged(root, read):
    root.write_bytes(b"PAR1 and no more", CATALOGUE_FILE)
    assert has_catalogue(root)
    with pytest.raises(DamagedFileError, match=r"catalogue\.parquet"):
        read(root)
