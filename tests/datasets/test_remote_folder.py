"""Keys of a bucket as files of folders, over a bucket that is a list of keys."""

import pytest
from pyarrow import fs as pafs

from m3ray.datasets.remote_folder import UNREADABLE_KEY, list_remote_files


class Bucket:
    """Folders as S3 shows them: a folder is whatever stands before a slash."""

    def __init__(self, *keys):
        self.keys = [f"bucket/{key}" for key in keys]
        self.listed = []

    def list_folder(self, folder):
        self.listed.append(folder)
        rests = {key[len(folder) + 1 :] for key in self.keys if key.startswith(f"{folder}/")}
        folders = {rest.partition("/")[0] for rest in rests if "/" in rest}
        files = {rest for rest in rests if rest and "/" not in rest}
        return [pafs.FileInfo(f"{folder}/{name}", type=pafs.FileType.Directory) for name in sorted(folders)] + [
            pafs.FileInfo(f"{folder}/{name}", type=pafs.FileType.File) for name in sorted(files)
        ]

    def list_below(self, folder):
        self.listed.append(f"{folder}/**")
        return [pafs.FileInfo(key, type=pafs.FileType.File) for key in self.keys if key.startswith(f"{folder}/")]

    def find(self, base="bucket"):
        return sorted(list_remote_files(base, self.list_folder, self.list_below))


@pytest.mark.parametrize("base", ["bucket/v", "bucket/v/"])
def test_every_file_below_a_folder_is_found_with_a_listing_a_folder(base):
    bucket = Bucket("v/a.mp4", "v/x/b.mp4", "v/x/y/c.mp4", "w/d.mp4")
    files = [("bucket/v/a.mp4", None), ("bucket/v/x/b.mp4", None), ("bucket/v/x/y/c.mp4", None)]
    assert bucket.find(base) == files
    assert sorted(bucket.listed) == ["bucket/v", "bucket/v/x", "bucket/v/x/y"]


@pytest.mark.parametrize("key", ["x//b.mp4", "x/./b.mp4", "x/../b.mp4"])
def test_keys_with_parts_that_are_no_names_are_rejected(key):
    bucket = Bucket("a.mp4", "x/c.mp4", key)
    assert bucket.find() == sorted(
        [("bucket/a.mp4", None), ("bucket/x/c.mp4", None), (f"bucket/{key}", UNREADABLE_KEY)]
    )
    assert bucket.listed.count("bucket/x/**") == 1, "all below that folder at once"


def test_a_folder_without_entries_is_a_key_that_ends_in_a_slash():
    assert Bucket("a.mp4/").find() == [("bucket/a.mp4/", UNREADABLE_KEY)]


def test_an_empty_base_has_no_files():
    assert Bucket().find() == []
