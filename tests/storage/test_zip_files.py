"""Archives with the same bytes each time, and archives that nobody should unpack."""

import hashlib
import io
import stat
import struct
import subprocess
import time
import zipfile
import zlib
from contextlib import suppress

import numpy as np
import pytest

from m3ray.errors import BundleError
from m3ray.storage import zip_files
from m3ray.storage.zip_files import SUMS_FILE, write_zip

FILES = {"bundle.json": b"{}", "model.safetensors": bytes(1000)}


def archive_of(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, data in entries:
            archive.writestr(entry, data)
    return path


def unpack_zip(path, folder, name):
    with path.open("rb") as file:
        zip_files.unpack_zip(file, folder, name)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "inside" / "unpacked"
    place.mkdir(parents=True)
    return place


def test_bytes_depend_on_the_files_alone(monkeypatch):
    first = write_zip(FILES)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert write_zip(dict(reversed(FILES.items()))) == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.namelist() == [SUMS_FILE, "bundle.json", "model.safetensors"]
        expected = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in FILES.items())
        assert archive.read(SUMS_FILE).decode() == expected
        kinds = {(entry.external_attr >> 16, entry.create_system) for entry in archive.infolist()}
        assert kinds == {(stat.S_IFREG | 0o644, 3)}, "a plain file of Unix, which all may read"


def test_what_is_written_is_unpacked_and_coreutils_find_it_whole(tmp_path, folder):
    path = tmp_path / "b.zip"
    path.write_bytes(write_zip(FILES))
    unpack_zip(path, folder, "b.zip")
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.name != SUMS_FILE} == FILES
    subprocess.run(["sha256sum", "--check", "--strict", SUMS_FILE], cwd=folder, check=True, capture_output=True)


def test_the_one_folder_that_all_lies_in_is_left_out(tmp_path, folder):
    path = archive_of(tmp_path / "b.zip", [("m3s/", b""), ("m3s/bundle.json", b"{}"), ("m3s/README.md", b"x")])
    unpack_zip(path, folder, "b.zip")
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "bundle.json"]


def test_a_file_of_several_chunks_is_unpacked_whole(tmp_path, folder):
    path = archive_of(tmp_path / "b.zip", [("bundle.json", bytes(1 << 20)), ("other", bytes((1 << 20) + 1))])
    unpack_zip(path, folder, "b.zip")
    assert [(folder / name).stat().st_size for name in ("bundle.json", "other")] == [1 << 20, (1 << 20) + 1]


def special(name, kind):
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, (kind | 0o644) << 16
    return entry


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "entries",
    [
        [("../evil", b"x")],
        [("bundle.json", b"x"), ("../../evil", b"x")],
        [("/tmp/evil", b"x")],
        [("..\\evil", b"x")],
        [("C:evil", b"x")],
        [(special("bundle.json", stat.S_IFLNK), b"/etc/passwd")],
        [(special("bundle.json", stat.S_IFIFO), b"")],
        [("bundle.json", b"1"), ("bundle.json", b"2")],
        [("n" * 256, b"x")],
        [("a/bundle.json", b"x"), ("b/other", b"x")],
        [("m3s/a/b/c", b"x")],
        [("a/x", b"1"), ("x", b"2")],
    ],
)
def test_an_archive_that_leads_elsewhere_is_not_unpacked(tmp_path, folder, entries):
    path = archive_of(tmp_path / "b.zip", entries)
    with pytest.raises(BundleError, match=r"b\.zip holds .*expected plain files in one folder"):
        unpack_zip(path, folder, "b.zip")
    assert list(folder.iterdir()) == []
    assert not (tmp_path / "evil").exists()


def test_an_archive_that_would_fill_a_disk_is_not_unpacked(tmp_path, folder, monkeypatch):
    bomb = archive_of(tmp_path / "b.zip", [("bundle.json", bytes(80 << 20))])
    with pytest.raises(BundleError, match=r"unpacks to [\d,]+ times its size"):
        unpack_zip(bomb, folder, "b.zip")
    monkeypatch.setattr(zip_files, "MOST_BYTES", 1 << 20)
    large = archive_of(tmp_path / "large.zip", [("bundle.json", bytes(2 << 20))])
    with pytest.raises(BundleError, match="it is no packed bundle"):
        unpack_zip(large, folder, "large.zip")
    many = archive_of(tmp_path / "many.zip", [(str(k), b"") for k in range(zip_files.MOST_FILES + 1)])
    with pytest.raises(BundleError, match=r"1,001 files"):
        unpack_zip(many, folder, "many.zip")
    assert list(folder.iterdir()) == []


def overlapping_archive(count, size):
    """An archive whose entries share one stream: each begins with the next one's header, quoted in a stored block."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = np.random.default_rng(0).bytes(size // 50).ljust(size, b"\0")
    packed = compressor.compress(data) + compressor.flush()
    entries = []  # the last one first, since each quotes what follows it
    for k in reversed(range(count)):
        name = f"{k:04}".encode()
        sizes = struct.pack("<LLLHH", zlib.crc32(data), len(packed), len(data), len(name), 0)
        header = struct.pack("<4sHHHHH", b"PK\3\4", 20, 0, 8, 0, 33) + sizes + name
        entries.append((sizes, name, len(header) + len(packed)))
        quoted = struct.pack("<BHH", 0, len(header), len(header) ^ 0xFFFF)
        whole, packed, data = header + packed, quoted + header + packed, header + data
    directory = b"".join(
        struct.pack("<4sHHHHHH", b"PK\1\2", 20, 20, 0, 8, 0, 33)
        + sizes
        + struct.pack("<HHHLL", 0, 0, 0, 0, len(whole) - from_end)
        + name
        for sizes, name, from_end in entries
    )
    return whole + directory + struct.pack("<4sHHHHLLH", b"PK\5\6", 0, 0, count, count, len(directory), len(whole), 0)


def test_entries_that_overlap_count_once(tmp_path, folder):
    path = tmp_path / "b.zip"
    path.write_bytes(overlapping_archive(2, 1000))
    with zipfile.ZipFile(path) as archive:
        # The first one quotes a header: 30 bytes, and a name of 4.
        assert [entry.file_size for entry in archive.infolist()] == [1000, 1034]
    path.write_bytes(overlapping_archive(40, 2 << 20))
    with zipfile.ZipFile(path) as archive:
        size, packed = (sum(getattr(e, field) for e in archive.infolist()) for field in ("file_size", "compress_size"))
    assert size > 64 << 20
    assert size < 60 * packed, "its entries' own ratio does no harm"
    with pytest.raises(BundleError, match=r"unpacks to [\d,]+ times its size, expected at most 100"):
        unpack_zip(path, folder, "b.zip")
    assert list(folder.iterdir()) == []


def test_a_file_longer_than_it_tells_is_cut_off(tmp_path, folder):
    path = tmp_path / "b.zip"
    data = bytearray(archive_of(path, [("bundle.json", b"y" * 5000)]).read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = (10).to_bytes(4, "little")  # the size that the directory tells
    path.write_bytes(bytes(data))
    with pytest.raises(BundleError):
        unpack_zip(path, folder, "b.zip")
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 10


@pytest.mark.parametrize("damage", [b"no zip at all", write_zip(FILES)[:-40]])
def test_a_damaged_archive_is_told_as_such(tmp_path, folder, damage):
    path = tmp_path / "b.zip"
    path.write_bytes(damage)
    with pytest.raises(BundleError, match=r"b\.zip is no zip, or is damaged"):
        unpack_zip(path, folder, "b.zip")


def test_a_changed_byte_is_found_by_the_archive_s_own_check(tmp_path, folder):
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("bundle.json", b"abcdefgh" * 10)
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcdefgX", 1))
    with pytest.raises(BundleError, match="damaged"):
        unpack_zip(path, folder, "b.zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_of_any_method_is_told_as_such(tmp_path, folder, method):
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("bundle.json", np.random.default_rng(0).bytes(3000))
    whole = path.read_bytes()
    unpack_zip(path, folder, "b.zip")
    for start, patch in ((41, b"\xff" * 40), (len(whole) - 6, b"\xff\xff\xff\x7f")):  # the data; the directory's place
        path.write_bytes(whole[:start] + patch + whole[start + len(patch) :])
        (folder / "bundle.json").unlink(missing_ok=True)
        with pytest.raises(BundleError, match=r"b\.zip is no zip, or is damaged"):
            unpack_zip(path, folder, "b.zip")


def test_bytes_changed_anywhere_raise_nothing_but_bundle_errors(tmp_path, folder):
    draw = np.random.default_rng(0)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = tmp_path / "b.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("bundle.json", b"{}" * 20)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(60):
            damaged = whole.copy()
            damaged[draw.integers(0, len(whole), 3)] = draw.integers(0, 256, 3)
            path.write_bytes(damaged.tobytes())
            with suppress(BundleError):
                unpack_zip(path, folder, "b.zip")
                # What was changed was nothing that counts: a date, say.
                assert [file.read_bytes() for file in folder.iterdir()] == [b"{}" * 20]
            for file in folder.iterdir():
                file.unlink()


def test_a_name_of_no_letter_is_not_unpacked(tmp_path, folder):
    path = archive_of(tmp_path / "b.zip", [("bundle.json", b"{}")])
    path.write_bytes(path.read_bytes().replace(b"bundle.json", b"\0undle.json"))  # zipfile ends names at a zero byte
    with pytest.raises(BundleError, match=r"b\.zip holds '', expected plain files"):
        unpack_zip(path, folder, "b.zip")


def test_a_file_that_cannot_be_written_is_not_called_damage(tmp_path, folder):
    path = archive_of(tmp_path / "b.zip", [("bundle.json", b"x")])
    (folder / "bundle.json").touch()
    with pytest.raises(FileExistsError):
        unpack_zip(path, folder, "b.zip")
