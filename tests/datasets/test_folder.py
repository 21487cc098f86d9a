"""What a listing of a folder finds, refuses and passes over, on disk and in S3."""

import os
import shutil

import pytest
from empty_files import put
from image_files import corners, encoded_image

from m3ray.datasets import folder
from m3ray.datasets.folder import find_named_videos, read_folder
from m3ray.datasets.table import read_table
from m3ray.errors import ConfigError, SchemaError
from m3ray.storage.root import Root


def test_a_video_is_known_by_its_content_where_its_name_says_nothing(tmp_path, clip):
    for name in ("a.dat", "b", "c.mp4.part", "d.MP4", "sound.m4a", "e.json"):
        shutil.copy(clip, tmp_path / name)
    put(tmp_path, "empty", "notes.txt", "page.dat")
    found = read_folder(str(tmp_path))
    assert found.table["clip_id"].to_pylist() == ["a.dat", "b", "c.mp4.part", "d.MP4"]
    words = "5 passed over: 1 .dat, 1 .json, 1 .m4a, 1 .txt, 1 without an ending (no videos, by name or content)"
    assert found.notes == (f"folder: {words}",)


@pytest.mark.parametrize("ending", ["flv", "wmv", "asf", "ogv", "mxf", "f4v", "3g2", "mpe", "m2v", "FLV"])
def test_usual_endings_are_videos(tmp_path, ending):
    put(tmp_path, f"a.{ending}")
    assert read_folder(str(tmp_path)).table["clip_id"].to_pylist() == [f"a.{ending}"]


def test_all_that_is_passed_over_is_counted(tmp_path, monkeypatch):
    put(tmp_path, "a.mp4", ".b.mp4", ".git/c.mp4", ".cache/d.mp4", "sub/._e.mp4", "sub/f.TXT", "g.tar.gz")
    (tmp_path / "linked").symlink_to(tmp_path / "sub")
    os.mkfifo(tmp_path / "pipe")
    closed = tmp_path / "closed"
    closed.mkdir()
    scandir = os.scandir

    def guarded(path):
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = read_folder(str(tmp_path))
    assert found.table["clip_id"].to_pylist() == ["a.mp4"]
    assert found.notes == (
        "folder: 9 passed over: 1 .gz, 1 .txt, 1 without an ending (no videos, by name or content); "
        "2 hidden, 2 hidden folders, 1 links to folders; "
        f"1 folders that cannot be read ([Errno 13] Permission denied: '{closed}')",
    )


def test_nothing_is_said_where_nothing_is_passed_over(tmp_path):
    put(tmp_path, "a.mp4")
    assert read_folder(str(tmp_path)).notes == ()


def test_a_folder_without_videos_says_what_it_holds(tmp_path):
    put(tmp_path, "a.txt", "b.txt", ".c")
    with pytest.raises(SchemaError, match=r"no file named like a video .*3 passed over: 2 \.txt .*1 hidden"):
        read_folder(str(tmp_path))


def fill(client, name, *keys):
    client.create_bucket(Bucket=name)
    for key in keys:
        client.put_object(Bucket=name, Key=key, Body=b"x")


def counted(monkeypatch, most):
    """Listings, of which there must not be more than a few."""
    calls, listed = [], folder._list_folder

    def count(fs, path):
        calls.append(path)
        assert len(calls) <= most, f"endless: {calls[-3:]}"
        return listed(fs, path)

    monkeypatch.setattr(folder, "_list_folder", count)


ODD = ("v//b.mp4", "v/sub///c.mp4", "v/./d.mp4", "v/../e.mp4", "v/f.mp4/")


def test_keys_that_cannot_be_asked_for_are_rejects(s3, monkeypatch):
    """S3 takes any key; no client of paths can ask for one with an empty part, and listing it leads nowhere."""
    fill(s3, "odd", "v/a.mp4", "v/sub/g.mp4", "v/sub/", "v/notes.txt", "v/.hidden.mp4", "w/h.mp4", *ODD)
    counted(monkeypatch, 10)
    found = read_folder("s3://odd/v/")
    rejected = ["../e.mp4", "./d.mp4", "/b.mp4", "f.mp4/", "sub///c.mp4"]
    assert found.table["clip_id"].to_pylist() == sorted([*rejected, "a.mp4", "sub/g.mp4"])
    assert sorted(found.rejected["clip_id"].to_pylist()) == rejected
    assert set(found.rejected["error"].to_pylist()) == {"unreadable_key"}
    assert found.notes == ("folder: 2 passed over: 1 .txt (no videos, by name or content); 1 hidden",)
    assert "s3://odd/v//b.mp4" in found.table["uri"].to_pylist()


def test_a_bucket_with_a_key_that_begins_with_a_slash_is_listed(s3, monkeypatch):
    fill(s3, "slash", "/a.mp4", "b.mp4")
    counted(monkeypatch, 3)
    found = read_folder("s3://slash")
    assert found.table["clip_id"].to_pylist() == ["/a.mp4", "b.mp4"]
    assert found.rejected["clip_id"].to_pylist() == ["/a.mp4"]


def test_objects_are_not_opened_to_be_listed(s3, caplog):
    """The server's own log: a request a folder, and none an object."""
    fill(s3, "plain", "v/a.mp4", "v/b.dat", "v/c.wmv")
    caplog.clear()
    caplog.set_level("INFO", "werkzeug")
    assert read_folder("s3://plain/v").table["clip_id"].to_pylist() == ["a.mp4", "c.wmv"]
    requests = [record.getMessage() for record in caplog.records if record.name == "werkzeug"]
    assert any("/plain?" in request for request in requests)
    assert not [request for request in requests if "/plain/v/" in request]


def test_videos_of_a_published_set_are_found_in_a_bucket(s3):
    fill(s3, "named", "v/a.mp4", "v/x//b.mp4", "v/c.txt")
    assert sorted(find_named_videos("s3://named/v")) == ["s3://named/v/a.mp4", "s3://named/v/x//b.mp4"]


@pytest.mark.parametrize("use", [read_folder, read_table, Root])
def test_an_empty_part_of_an_s3_path_is_one_line(use):
    with pytest.raises(ConfigError, match=r"'s3://bkt//v' has an empty part \(//\), which cannot be requested"):
        use("s3://bkt//v")


def test_a_bucket_that_is_not_there_is_one_line(s3):
    for use in (read_folder, read_table):
        with pytest.raises((SchemaError, ConfigError), match="s3://nowhere-at-all/v") as error:
            use("s3://nowhere-at-all/v")
        assert "\n" not in str(error.value)


def test_folders(tmp_path):
    for name in ("a/x.mp4", "b/x.mp4", "b/Y.MOV", "notes.txt", ".hidden.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = read_folder(str(tmp_path))
    listed, rejected = found.table, found.rejected
    assert listed["clip_id"].to_pylist() == ["a/x.mp4", "b/Y.MOV", "b/x.mp4"]
    assert listed == read_folder(str(tmp_path) + "/").table, "stable under re-listing"
    assert rejected.num_rows == 0
    with pytest.raises(SchemaError, match="no folder at"):
        read_folder(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SchemaError, match="no file named like a video"):
        read_folder(str(tmp_path / "empty"))


def test_images_are_clips_beside_videos_and_may_be_left_out(tmp_path):
    put(tmp_path, "a.mp4", "x/b.JPG", "x/c d#1%41.png", "d.webp", "e.gif", "f.txt", "g.heic", "h.tif")
    found = read_folder(str(tmp_path))
    assert found.table["clip_id"].to_pylist() == ["a.mp4", "d.webp", "e.gif", "x/b.JPG", "x/c d#1%41.png"]
    assert found.notes == (
        "folder: 2 videos and 3 images: an image is a clip of one frame; --media videos leaves images out",
        "folder: 3 passed over: 1 .heic, 1 .tif, 1 .txt (no videos, by name or content); images of kinds that are not "
        "read: 1 .heic, 1 .tif: convert them to JPEG or PNG",
    )
    videos, images = read_folder(str(tmp_path), "videos"), read_folder(str(tmp_path), "images")
    assert videos.table["clip_id"].to_pylist() == ["a.mp4", "e.gif"]
    assert "3 images (--media videos)" in videos.notes[-1]
    assert images.table["clip_id"].to_pylist() == ["d.webp", "x/b.JPG", "x/c d#1%41.png"]
    assert images.notes[0] == "folder: 3 images: an image is a clip of one frame"
    assert "2 videos (--media images)" in images.notes[-1]


def test_an_image_is_known_by_its_content_where_its_name_says_nothing(tmp_path):
    (tmp_path / "photo").write_bytes(encoded_image(corners()))
    put(tmp_path, "b.jpg")
    assert read_folder(str(tmp_path)).table["clip_id"].to_pylist() == ["b.jpg", "photo"]
    assert read_folder(str(tmp_path), "images").notes[0].startswith("folder: 2 images")


def test_images_in_a_bucket_are_listed_by_their_names(s3):
    fill(s3, "photos", "v/a.jpg", "v/b.mp4", "v/c d#%.png", "v/e.heic")
    found = read_folder("s3://photos/v")
    assert found.table["uri"].to_pylist() == ["s3://photos/v/a.jpg", "s3://photos/v/b.mp4", "s3://photos/v/c d#%.png"]
    assert found.notes[0].startswith("folder: 1 video and 2 images")
    assert read_folder("s3://photos/v", "videos").table["clip_id"].to_pylist() == ["b.mp4"]


def test_a_root_that_is_no_folder_says_what_it_is(tmp_path):
    put(tmp_path, "photo.jpg", "clips.csv", "empty/a.heic")
    with pytest.raises(SchemaError, match=r"but a file: give its folder, or say --dataset table"):
        read_folder(str(tmp_path / "clips.csv"))
    with pytest.raises(SchemaError, match=r"like a video \(3g2.*\) or an image \(apng, bmp.*1 \.heic: convert them"):
        read_folder(str(tmp_path / "empty"))
    with pytest.raises(SchemaError, match=r"like an image \(.*\), and none"):
        read_folder(str(tmp_path / "empty"), "images")
    with pytest.raises((SchemaError, ConfigError), match=r"https://example\.org/photos") as error:
        read_folder("https://example.org/photos")
    assert "\n" not in str(error.value)
