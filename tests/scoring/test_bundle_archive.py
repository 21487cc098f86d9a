"""Bundles in archives, here, in S3 and on the web."""

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from https_server import serve_https, write_certificate
from made_bundles import TEXT, make_bundle

from m3ray.errors import BundleError, ConfigError
from m3ray.scoring import bundle_archive
from m3ray.scoring.bundle_archive import find_bundle_folder, is_archive
from m3ray.scoring.open_bundle import open_bundle
from m3ray.storage.root import Root
from m3ray.storage.zip_files import write_zip


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("M3RAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bundles"


@pytest.fixture
def packed(tmp_path):
    """A bundle's zip, and its hash."""
    make_bundle(tiers={"text": TEXT}).save(Root(str(tmp_path)), "models", "small")
    folder = tmp_path / "models" / "small"
    data = write_zip({file.name: file.read_bytes() for file in folder.iterdir()})
    return data, hashlib.sha256(data).hexdigest()


def unpacked_in(cache):
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def test_what_names_a_file_and_what_a_folder(tmp_path):
    (tmp_path / "folder.zip").mkdir()
    assert is_archive("https://host/download?id=3")
    assert is_archive("s3://bucket/m3s.ZIP")
    assert is_archive(str(tmp_path / "m3s.zip"))
    assert not is_archive(str(tmp_path / "folder.zip"))
    assert not is_archive("s3://bucket/models/m3s")


def test_a_folder_stays_as_it_is_and_takes_no_hash():
    assert find_bundle_folder("models/m3s") == "models/m3s"
    with pytest.raises(ConfigError, match="a folder has no hash"):
        find_bundle_folder(f"models/m3s#sha256={'0' * 64}")


def test_a_zip_here_opens_and_is_unpacked_once(tmp_path, packed, cache):
    data, digest = packed
    path = tmp_path / "small.zip"
    path.write_bytes(data)
    assert open_bundle(path).name == "small"
    before = (cache / digest).stat().st_mtime_ns
    assert open_bundle(f"{path}#sha256={digest}").name == "small"
    assert unpacked_in(cache) == [digest]
    assert (cache / digest).stat().st_mtime_ns == before
    with pytest.raises(BundleError, match=rf"small\.zip has SHA-256 {digest}, expected {'0' * 64}"):
        open_bundle(f"{path}#sha256={'0' * 64}")
    with pytest.raises(BundleError, match=r"no bundle at .*none\.zip: there is no such file"):
        open_bundle(tmp_path / "none.zip")


def test_a_folder_of_the_cache_that_lost_a_file_is_unpacked_anew(tmp_path, packed, cache):
    path = tmp_path / "small.zip"
    path.write_bytes(packed[0])
    folder = Path(find_bundle_folder(str(path)))
    (folder / "model.safetensors").unlink()
    assert open_bundle(path).name == "small"


def cut(file):
    file.write_bytes(file.read_bytes()[:-1])


def exchange(file):
    """As many other bytes, at the same time as before."""
    state = file.stat()
    file.write_bytes(bytes(byte ^ 1 for byte in file.read_bytes()))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("change", [cut, exchange])
@pytest.mark.parametrize("name", ["model.safetensors", "bundle.json"])
def test_a_changed_file_of_the_cache_is_unpacked_anew(tmp_path, packed, change, name):
    path = tmp_path / "small.zip"
    path.write_bytes(packed[0])
    file = Path(find_bundle_folder(str(path))) / name
    whole = file.read_bytes()
    change(file)
    assert file.read_bytes() != whole
    assert open_bundle(path).name == "small"
    assert file.read_bytes() == whole


def test_of_a_large_file_size_and_time_are_compared_and_then_its_hash(tmp_path, packed, monkeypatch):
    path = tmp_path / "small.zip"
    path.write_bytes(packed[0])
    monkeypatch.setattr(bundle_archive, "_SMALL", 0)
    model = Path(find_bundle_folder(str(path))) / "model.safetensors"
    read, hash_file = [], bundle_archive._hash_file
    monkeypatch.setattr(bundle_archive, "_hash_file", lambda path: read.append(path.name) or hash_file(path))
    before = model.stat().st_ino
    find_bundle_folder(f"{path}#sha256={packed[1]}")
    assert read == []
    os.utime(model, (0, 0))  # as a copy may have it
    find_bundle_folder(f"{path}#sha256={packed[1]}")
    assert (read, model.stat().st_ino) == (["model.safetensors"], before)
    model.write_bytes(bytes(model.stat().st_size))
    find_bundle_folder(f"{path}#sha256={packed[1]}")
    assert model.stat().st_ino != before, "unpacked anew"


@pytest.mark.parametrize("record", ["{}", "[]", '{"bundle.json": 2}', '{"bundle.json": {"size": 2}}', "no JSON"])
def test_a_folder_without_a_whole_record_is_not_taken_for_a_bundle(record, cache):
    folder = cache / ("3" * 64)
    folder.mkdir(parents=True)
    (folder / "unpacked.json").write_text(record)
    (folder / "bundle.json").write_text("{}")

    def refuse(_):
        raise FileNotFoundError

    with pytest.raises(BundleError, match=r"cannot fetch https://h/b\.zip \(there is no such file\)"):
        find_bundle_folder(f"https://h/b.zip#sha256={'3' * 64}", refuse)


def test_a_folder_that_another_user_made_is_left_aside(tmp_path, packed, cache, monkeypatch):
    path = tmp_path / "small.zip"
    path.write_bytes(packed[0])
    theirs = Path(find_bundle_folder(str(path)))
    owners = {theirs: 12345}
    monkeypatch.setattr(bundle_archive, "_owner", lambda path: owners.get(path, os.geteuid()))
    own = cache / f"{packed[1]}-{os.geteuid()}"
    assert find_bundle_folder(f"{path}#sha256={packed[1]}") == str(own)
    made = own.stat().st_ino
    assert find_bundle_folder(str(path)) == str(own)
    assert own.stat().st_ino == made, "unpacked once"
    assert theirs.is_dir()
    owners[cache.parent.resolve()] = 12345  # who made the cache may fill it
    assert find_bundle_folder(str(path)) == str(theirs)


def test_a_bundle_in_the_cache_opens_without_a_lock(tmp_path, packed, monkeypatch):
    path = tmp_path / "small.zip"
    path.write_bytes(packed[0])
    folder = find_bundle_folder(str(path))

    def lock(*_):
        raise PermissionError("of another user")

    monkeypatch.setattr(bundle_archive, "FileLock", lock)
    assert find_bundle_folder(str(path)) == folder


def test_an_archive_of_a_folder_of_the_cache_is_unpacked_once(tmp_path, packed):
    (tmp_path / "small.zip").write_bytes(packed[0])
    folder = Path(find_bundle_folder(str(tmp_path / "small.zip")))
    path = tmp_path / "again.zip"
    path.write_bytes(write_zip({file.name: file.read_bytes() + b" " for file in folder.iterdir()}))
    again = Path(find_bundle_folder(str(path)))
    assert again != folder
    before = again.stat().st_ino
    assert (find_bundle_folder(str(path)), again.stat().st_ino) == (str(again), before)


def test_what_is_unpacked_is_what_was_hashed(tmp_path, packed, monkeypatch):
    path, other = tmp_path / "small.zip", tmp_path / "other.zip"
    path.write_bytes(packed[0])
    other.write_bytes(write_zip({"bundle.json": b"{}"}))
    digest_of = hashlib.file_digest

    def digest_and_exchange(file, name):
        digest = digest_of(file, name)
        if other.exists():
            other.replace(path)
        return digest

    monkeypatch.setattr(hashlib, "file_digest", digest_and_exchange)
    assert open_bundle(f"{path}#sha256={packed[1]}").name == "small"
    assert not other.exists()


def test_a_zip_that_cannot_be_read_is_told_as_such(tmp_path, packed, monkeypatch):
    path = tmp_path / "small.zip"
    path.write_bytes(packed[0])

    def fail(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(hashlib, "file_digest", fail)
    with pytest.raises(BundleError, match=r"cannot read .*small\.zip \(.*Permission denied\): "):
        find_bundle_folder(str(path))


def test_a_zip_without_a_bundle_leaves_nothing(tmp_path, cache):
    path = tmp_path / "other.zip"
    path.write_bytes(write_zip({"README.md": b"x"}))
    with pytest.raises(BundleError, match=r"holds no bundle\.json"):
        find_bundle_folder(str(path))
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(BundleError, match="is no zip"):
        find_bundle_folder(str(path))
    assert unpacked_in(cache) == []


def test_a_cache_that_cannot_be_written_is_told(tmp_path, packed, monkeypatch):
    (tmp_path / "small.zip").write_bytes(packed[0])
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("M3RAY_CACHE", str(tmp_path / "file"))
    with pytest.raises(BundleError, match=r"cannot unpack .*M3RAY_CACHE"):
        find_bundle_folder(str(tmp_path / "small.zip"))


def test_a_web_address_needs_a_hash_encryption_and_no_secret():
    with pytest.raises(ConfigError, match=r"needs its hash, got none: append #sha256=HASH"):
        find_bundle_folder("https://host/m3s.zip")
    with pytest.raises(ConfigError, match="not encrypted"):
        find_bundle_folder(f"http://host/m3s.zip#sha256={'0' * 64}")
    with pytest.raises(ConfigError, match="carries a secret") as caught:
        find_bundle_folder(f"https://host/m3s.zip?token=abc#sha256={'0' * 64}")
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize("location", ["ftp://host/m3s.zip", "gs://b/m3s.zip", "S3://b/m3s.zip", "ftps://h/m3s.ZIP"])
def test_nothing_but_local_paths_s3_and_https_is_asked(location):
    def open_url(request):
        raise AssertionError(f"{request.full_url} was asked")

    for address in (location, f"{location}#sha256={'0' * 64}"):
        with pytest.raises(ConfigError, match=r"expected a local path, an s3:// URI or an https:// address"):
            find_bundle_folder(address, open_url)


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_the_working_folder(name, tmp_path, monkeypatch):
    make_bundle(tiers={"text": TEXT}).save(Root(str(tmp_path)), "here")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ConfigError, match="the bundle's name is empty: give its folder"):
        find_bundle_folder(name)


def test_a_file_that_is_no_zip_is_no_bundle(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "video.mp4").write_bytes(b"x")
    for name in ("video.mp4", f"file://{tmp_path}/video.mp4", "video.mp4/"):
        with pytest.raises(BundleError, match=r"no bundle at \S*video\.mp4/?: it is a file, expected a folder with"):
            open_bundle(name)


def test_a_bundle_of_the_web_is_fetched_once(tmp_path, packed, cache, monkeypatch):
    data, digest = packed
    certificate = write_certificate(tmp_path / "own.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serve_https(certificate) as server:
        server.pages = {"/m3s.zip": (200, {}, data)}
        address = f"{server.address}/m3s.zip"
        with pytest.raises(BundleError, match=rf"has SHA-256 {digest}, expected {'1' * 64}.*it was not opened"):
            open_bundle(f"{address}#sha256={'1' * 64}")
        assert unpacked_in(cache) == []
        assert open_bundle(f"{address}#sha256={digest}").name == "small"
        assert open_bundle(f"{address}#sha256={digest}").name == "small"
        assert server.asked == ["/m3s.zip", "/m3s.zip"]
    assert open_bundle(f"{address}#sha256={digest}").name == "small", "no server is needed any more"
    shutil.rmtree(cache)
    with pytest.raises(BundleError, match=r"cannot fetch .*refused"):
        open_bundle(f"{address}#sha256={digest}")


def test_processes_that_start_together_fetch_it_once(tmp_path, packed, monkeypatch):
    data, digest = packed
    certificate = write_certificate(tmp_path / "own.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serve_https(certificate) as server:
        server.pages = {"/m3s.zip": (200, {}, data)}
        with ThreadPoolExecutor(4) as pool:
            found = set(pool.map(find_bundle_folder, [f"{server.address}/m3s.zip#sha256={digest}"] * 4))
        assert (len(found), server.asked) == (1, ["/m3s.zip"])


def test_who_shares_the_cache_can_read_it(tmp_path, packed):
    (tmp_path / "small.zip").write_bytes(packed[0])
    (tmp_path / "made").mkdir()
    assert Path(find_bundle_folder(str(tmp_path / "small.zip"))).stat().st_mode == (tmp_path / "made").stat().st_mode


def test_a_zip_in_s3_opens_with_and_without_its_hash(s3, packed, cache):
    data, digest = packed
    s3.create_bucket(Bucket="bundles")
    s3.put_object(Bucket="bundles", Key="m3s.zip", Body=data)
    assert open_bundle("s3://bundles/m3s.zip").name == "small"
    assert open_bundle(f"s3://bundles/m3s.zip#sha256={digest}").name == "small"
    with pytest.raises(BundleError, match="it is another file"):
        open_bundle(f"s3://bundles/m3s.zip#sha256={'2' * 64}")
    assert unpacked_in(cache) == [digest]
