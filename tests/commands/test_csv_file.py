import csv
import os
from pathlib import Path

import pytest

from m3ray.commands.csv_file import check_csv, open_csv
from m3ray.errors import ConfigError


def test_a_video_is_not_written_over(tmp_path):
    """`m3ray score short.mp4 --csv short.mp4` emptied the video before it was scored."""
    video = tmp_path / "short.mp4"
    video.write_bytes(b"\0\0\0\x20ftypisom" + bytes(100))
    (tmp_path / "link.csv").symlink_to(video)
    for path in (video, tmp_path / "link.csv"):
        with pytest.raises(ConfigError, match="no CSV of m3ray's"):
            check_csv(str(path))
    assert video.stat().st_size == 112


def test_rows_of_an_earlier_call_and_an_empty_file_are_written_over(tmp_path):
    texts = {"a.csv": "clip_id,score,reason\nx,0.5,\n", "b.csv": "rank,clip_id,reason\n1,x,\n", "c.csv": ""}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        check_csv(str(tmp_path / name))
        assert (tmp_path / name).read_text() == text


def test_a_table_of_clips_is_not_written_over(tmp_path):
    """It begins as rows of scores do."""
    table = tmp_path / "clips.csv"
    table.write_text("clip_id,uri,score,labels\na,a.mp4,0.5,x\n")
    with pytest.raises(ConfigError, match="no CSV of m3ray's"):
        check_csv(str(table))


def test_a_link_to_nothing_stays_and_a_pipe_is_not_waited_for(tmp_path):
    link, pipe = tmp_path / "link.csv", tmp_path / "pipe"
    link.symlink_to(tmp_path / "target.csv")
    os.mkfifo(pipe)
    check_csv(str(link))
    check_csv(str(pipe))
    assert link.is_symlink()
    assert not (tmp_path / "target.csv").exists()


def test_what_cannot_be_a_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match="a folder is there"):
        check_csv(str(tmp_path))
    with pytest.raises(ConfigError, match="there is no folder"):
        check_csv(str(tmp_path / "lacks" / "scores.csv"))
    with pytest.raises(ConfigError, match=r"cannot be written \("):
        check_csv("/proc/scores.csv" if os.path.isdir("/proc") else str(tmp_path / ("x" * 300)))


def test_checking_leaves_no_file_behind_and_devices_pass(tmp_path):
    check_csv(str(tmp_path / "scores.csv"))
    assert not list(tmp_path.iterdir())
    check_csv(os.devnull)


def test_names_of_any_bytes_are_written(tmp_path):
    path = str(tmp_path / "scores.csv")
    with open_csv(path) as file:
        csv.writer(file, lineterminator="\n").writerow(["ü", "\udcff.mp4"])
    assert Path(path).read_text(encoding="utf-8") == "ü,\\udcff.mp4\n"
