"""Files of maps: each clip has its own, clips and what is no map stay as they are, and a folder is tried first."""

import os
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from small_maps import make_explanation, make_image_explanation

from m3ray.commands.map_files import check_targets, name_maps, prepare_folder, write_files
from m3ray.errors import ConfigError


def write_map(folder, clip_id, kind="webp"):
    """As the command does: name, check, write."""
    (name,) = name_maps([clip_id], folder)
    check_targets([clip_id], [name], folder, kind)
    write_files(replace(make_explanation(), clip_id=clip_id), folder, name, kind)
    return name


def test_files_are_named_after_clips_and_no_two_alike(tmp_path):
    ids = [
        "a/x.mp4",
        "b/x.mov",
        "s3://bucket/x y?.mp4",
        "[0]",
        "...",
        "x~2.mp4",
        "X.mp4",
        "n" * 300,
        "\U00020000" * 300,
    ]
    names = name_maps(ids, tmp_path)
    assert names[:5] == ["x-map", "x~2-map", "x-y-map", "0-map", "clip-map"]
    assert len({name.casefold() for name in names}) == len(names), "of a file system that does not tell A from a too"
    assert max(len(os.fsencode(name)) for name in names) <= 90


@pytest.mark.parametrize(("kind", "endings"), [("webp", ["webp", "png"]), ("mp4", ["mp4", "png"]), ("png", ["png"])])
def test_forms(tmp_path, kind, endings):
    written = write_files(make_explanation(), tmp_path, "clip-map", kind)
    assert written == [str(tmp_path / f"clip-map.{ending}") for ending in [*endings, "parquet"]]
    assert sorted(written) == sorted(map(str, tmp_path.iterdir()))


def test_an_image_has_no_animation(tmp_path):
    written = write_files(make_image_explanation(), tmp_path, "clip-map", "webp")
    assert written == [str(tmp_path / "clip-map.png"), str(tmp_path / "clip-map.parquet")]


def test_clips_of_one_name_keep_their_maps_over_several_calls(tmp_path):
    assert write_map(tmp_path, "a.mp4") == "a-map"
    assert write_map(tmp_path, "a.mov") == "a~2-map"
    assert write_map(tmp_path, "x/a.mp4") == "a~3-map"
    assert write_map(tmp_path, "s3://bucket/a.mp4") == "a~4-map"
    assert name_maps(["x/a.mp4", "a.mov", "a.mp4"], tmp_path) == ["a~3-map", "a~2-map", "a-map"], "made anew"
    clips = [pq.read_table(tmp_path / f"{name}.parquet")["clip_id"][0].as_py() for name in ("a-map", "a~2-map")]
    assert clips == ["a.mp4", "a.mov"]


def test_a_clip_in_another_working_folder_is_another_clip(tmp_path, monkeypatch):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    assert write_map(tmp_path, "a.mp4") == "a-map"
    monkeypatch.chdir(tmp_path / "two")
    assert write_map(tmp_path, "a.mp4") == "a~2-map"
    assert write_map(tmp_path, "../one/a.mp4") == "a-map", "the same clip by another path"


@pytest.mark.parametrize("link", [os.symlink, os.link, None], ids=["symbolic link", "hard link", "itself"])
def test_a_clip_is_never_written_over(tmp_path, link):
    clip = tmp_path / ("film.mp4" if link else "other-map.mp4")
    clip.write_bytes(b"a film")
    if link:
        link(clip, tmp_path / "other-map.mp4")
    with pytest.raises(ConfigError, match=r"other-map.mp4: a map would be written over this clip: give another --out"):
        check_targets(["other.mp4", str(clip)], ["other-map", "film-map"], tmp_path, "mp4")
    check_targets(["other.mp4", str(clip)], ["other-map", "film-map"], tmp_path, "webp")


@pytest.mark.parametrize("ending", ["png", "webp", "parquet"])
def test_what_is_no_map_is_refused(tmp_path, ending):
    path = tmp_path / f"a-map.{ending}"
    path.write_bytes(b"of somebody else")
    with pytest.raises(ConfigError, match=rf"a-map.{ending}: is there, and no map of m3ray explain's"):
        write_map(tmp_path, "a.mp4")
    assert path.read_bytes() == b"of somebody else"


def test_a_table_of_another_program_is_no_map(tmp_path):
    pq.write_table(
        pq.read_table(write_files(make_explanation(), tmp_path, "b", "png")[-1]).select(["t"]), tmp_path / "c"
    )
    table = pq.read_table(tmp_path / "c").replace_schema_metadata({})
    pq.write_table(table, tmp_path / "a-map.parquet")
    with pytest.raises(ConfigError, match=r"a-map.parquet: is there"):
        write_map(tmp_path, "a.mp4")


def test_a_folder_or_a_link_in_the_place_of_a_maps_picture_is_refused(tmp_path):
    write_map(tmp_path, "a.mp4", "png")
    (tmp_path / "a-map.webp").symlink_to(tmp_path / "not there")
    with pytest.raises(ConfigError, match=r"a-map.webp: is there"):
        write_map(tmp_path, "a.mp4")
    (tmp_path / "a-map.webp").unlink()
    (tmp_path / "a-map.webp").mkdir()
    with pytest.raises(ConfigError, match=r"a-map.webp: is there"):
        write_map(tmp_path, "a.mp4")
    assert write_map(tmp_path, "a.mp4", "png") == "a-map", "this one needs no animation"


def test_the_folder_is_made_and_tried(tmp_path):
    folder = prepare_folder(str(tmp_path / "new" / "maps"))
    assert folder.is_dir()
    assert not list(folder.iterdir())
    assert prepare_folder(str(folder)) == folder


@pytest.mark.parametrize("inside", ["nope", "."])
def test_a_folder_that_cannot_be_written(inside):
    out = f"/proc/{inside}"  # takes no files from anybody, the superuser neither
    with pytest.raises(ConfigError, match=r"--out /proc.*: maps cannot be written there \(.+\): give a folder"):
        prepare_folder(out)


def test_files_that_cannot_be_written_are_told_in_one_line(tmp_path):
    (tmp_path / "clip-map.png").mkdir()
    with pytest.raises(ConfigError, match=r"maps cannot be written there \(Is a directory\)"):
        write_files(make_explanation(), tmp_path, "clip-map", "png")
    with pytest.raises(ConfigError, match=r"maps cannot be written there"):
        write_files(make_explanation(), tmp_path / "gone", "clip-map", "png")
