"""Free space: which folder is asked, and when a disk is full."""

from types import SimpleNamespace

import pytest

from m3ray.storage import disk
from m3ray.storage.disk import is_full, nearest_existing


def test_the_nearest_folder_that_exists(tmp_path):
    assert nearest_existing(tmp_path / "a" / "b") == tmp_path
    assert nearest_existing(tmp_path) == tmp_path


@pytest.mark.parametrize(
    ("user", "free", "available", "blocks", "expected"),
    [
        (1000, 10_000, 255, 10**6, True),  # 255 blocks of 4 KiB: less than 1 MiB for this user
        (1000, 10_000, 256, 10**6, False),
        (0, 10_000, 0, 10**6, False),  # the reserve is root's
        (0, 10, 0, 10**6, True),
        (1000, 0, 0, 0, False),  # a file system that tells nothing
    ],
)
def test_a_disk_is_full_below_a_mebibyte(monkeypatch, tmp_path, user, free, available, blocks, expected):
    status = SimpleNamespace(f_bfree=free, f_bavail=available, f_blocks=blocks, f_frsize=4096)
    monkeypatch.setattr(disk.os, "statvfs", lambda _: status)
    monkeypatch.setattr(disk.os, "geteuid", lambda: user)
    assert is_full(tmp_path) is expected
