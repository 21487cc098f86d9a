"""From the name of a data set to its clips."""

import pytest
from published import memento_csv, memento_json, videomem_csv
from published_images import figrim, lamem, memcat, things

from m3ray.config import ReadConfig
from m3ray.datasets.clip_checks import check_clips
from m3ray.datasets.media import count_images
from m3ray.datasets.registry import PUBLISHED, list_clips
from m3ray.errors import ConfigError, SchemaError
from m3ray.schema import MEMORY
from m3ray.storage.root import Root


def test_the_demo_says_that_it_is_one(tmp_path):
    """A mistyped --out starts it, and its first lines spoke of a catalogue alone."""
    found = list_clips(Root(str(tmp_path)), "demo", None, limit=2, seed=0, write=False)
    assert found.notes[0] == (
        "demo: 2 clips that m3ray draws, with scores that it makes up; for videos of yours: --dataset, --root"
    )


def test_data_sets_that_cannot_be(tmp_path):
    root = Root(str(tmp_path))
    with pytest.raises(ConfigError, match="needs --root"):
        list_clips(root, "folder", None, limit=None, seed=0)
    with pytest.raises(ConfigError, match="expected at least 1"):
        list_clips(root, "demo", None, limit=0, seed=0)
    with pytest.raises(ConfigError, match="unknown data set"):
        list_clips(root, "youtube", None, limit=None, seed=0)


COUNTED = {"responses", "hit_rate", "corrected", "d_prime"}


@pytest.mark.parametrize(
    ("dataset", "make", "columns"),
    [
        ("demo", None, COUNTED | {"hits", "alpha"}),
        ("memento10k", memento_csv, {"responses", "alpha"}),
        ("memento10k", memento_json, {"alpha"}),
        ("videomem", videomem_csv, {"responses"}),
        ("memcat", memcat, COUNTED | {"hits", "false_alarms", "false_alarm_rate"}),
        ("figrim", figrim, COUNTED | {"hits", "false_alarms", "false_alarm_rate"}),
        ("lamem", lamem, set()),
    ],
)
def test_every_data_set_tells_of_its_viewers_under_the_same_names(tmp_path, dataset, make, columns):
    if make is not None:
        make(tmp_path)
    source = None if make is None else str(tmp_path)
    found = list_clips(Root(str(tmp_path)), dataset, source, limit=None, seed=0, write=False).table
    assert {name for name in MEMORY.names if name in found.column_names} >= columns
    for name in columns:
        assert found.schema.field(name) == MEMORY.field(name)
        assert found[name].null_count == 0
    unknown = COUNTED - columns
    assert not unknown & set(found.column_names)


@pytest.mark.parametrize(
    ("dataset", "make"), [("lamem", lamem), ("memcat", memcat), ("figrim", figrim), ("things", things)]
)
def test_published_images_are_clips_and_the_first_few_may_be_taken(tmp_path, dataset, make):
    make(tmp_path)
    found = list_clips(Root(str(tmp_path)), dataset, str(tmp_path), limit=7, seed=0)
    assert dataset in PUBLISHED
    assert (found.table.num_rows, count_images(found.table["uri"]), found.missing) == (7, 7, ())
    assert check_clips(found.table).num_rows == 7
    with pytest.raises(SchemaError, match="(?i)holds no .*: give the folder of " + dataset):
        list_clips(Root(str(tmp_path)), dataset, str(tmp_path / "none"), limit=None, seed=0)


def test_counts_of_a_table_give_its_scores(tmp_path):
    (tmp_path / "t.csv").write_text("uri,hits,n_resp\na.mp4,30,40\nb.mp4,,\n")
    found = list_clips(Root(str(tmp_path)), "table", str(tmp_path / "t.csv"), limit=None, seed=0)
    assert found.table["score"].to_pylist() == [0.75, None]
    assert found.table["n_resp"].to_pylist() == ["40", None], "as it was written"
    assert found.notes == (
        "table: responses of 1 of 2 clips: 40 to 40 viewers a clip, median 40",
        "table: derived: hit_rate",
        "table: score is the hit rate: 1 clips",
    )


def test_clips_are_grouped_by_a_column_that_is_there(tmp_path):
    (tmp_path / "t.csv").write_text("uri,film,split\na,x,train\nb,x,val\nc,y,\nd,,\n")
    (tmp_path / "u.csv").write_text("uri,film\na,x\nb, x\nc,y\nd,\n")

    def notes(name, **read):
        read = ReadConfig(**read)
        return list_clips(Root(str(tmp_path)), "table", str(tmp_path / name), limit=None, seed=0, read=read).notes

    assert notes("t.csv") == ()
    assert notes("u.csv", group="film") == (
        "groups: 2 by film, the largest of 2 clips; 1 clips without one, each on its own",
    )
    with pytest.raises(ConfigError, match=r"--group movie: expected a column .*; there are clip_id, uri, film"):
        notes("u.csv", group="movie")
    with pytest.raises(SchemaError, match="put 1 of 1 groups on two sides: 'x' has a in train and b in val"):
        notes("t.csv", group="film")


def put(top, *names):
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"")


def test_notes_reach_whoever_lists(tmp_path):
    put(tmp_path / "v", "a.mp4", "b.txt")
    found = list_clips(Root(str(tmp_path)), "folder", str(tmp_path / "v"), limit=None, seed=0)
    assert found.notes == ("folder: 1 passed over: 1 .txt (no videos, by name or content)",)


@pytest.mark.parametrize("error", [ValueError("of some\nlibrary"), OSError("of the disk")])
def test_what_a_library_raises_is_one_line_about_the_file(tmp_path, monkeypatch, error):
    from m3ray.datasets import registry

    def fail(source, read):
        raise error

    monkeypatch.setitem(registry.LISTERS, "table", fail)
    with pytest.raises(SchemaError, match=r"--root x\.csv cannot be read as table: of \w+ \w+$"):
        list_clips(Root(str(tmp_path)), "table", "x.csv", limit=None, seed=0)


@pytest.mark.parametrize("dataset", ["memento10k", "videomem"])
def test_headers_alone_are_no_data_set(tmp_path, dataset):
    memento_csv(tmp_path, 0, 0)
    videomem_csv(tmp_path, 0)
    with pytest.raises(SchemaError, match="holds no clip"):
        list_clips(Root(str(tmp_path)), dataset, str(tmp_path), limit=None, seed=0)


@pytest.mark.parametrize("dataset", ["memento10k-json", "memento10k-csv", "videomem"])
def test_ten_thousand_rows_are_read_whole(tmp_path, dataset):
    """How long that takes is told by benchmarks/listing.py."""
    if dataset == "memento10k-json":
        memento_json(tmp_path, (("train", 7000), ("val", 1500), ("test", 1500)))
    elif dataset == "memento10k-csv":
        memento_csv(tmp_path, 8500, 1500)
    else:
        videomem_csv(tmp_path, 10_000)
    found = list_clips(Root(str(tmp_path)), dataset.split("-")[0], str(tmp_path), limit=None, seed=0)
    assert found.table.num_rows == 10_000
    assert found.table["score"].null_count == 0


def test_a_limit_speaks_of_its_own_clips_alone(tmp_path):
    """Of ten videos the last eight are missing: the first two are all there."""
    videomem_csv(tmp_path, 10)
    names = list_clips(Root(str(tmp_path)), "videomem", str(tmp_path), limit=None, seed=0).table["clip_id"].to_pylist()
    for name in names[:2]:
        (tmp_path / name).write_bytes(b"x")
    whole = list_clips(Root(str(tmp_path)), "videomem", str(tmp_path), limit=None, seed=0)
    assert whole.missing == tuple(names[2:])
    assert list_clips(Root(str(tmp_path)), "videomem", str(tmp_path), limit=2, seed=0).missing == ()
    assert list_clips(Root(str(tmp_path)), "videomem", str(tmp_path), limit=4, seed=0).missing == tuple(names[2:4])


def test_media_chooses_among_the_files_of_a_folder_alone(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "b.mp4").write_bytes(b"x")
    root = Root(str(tmp_path / "o"))
    found = list_clips(root, "folder", str(tmp_path), limit=None, seed=0, read=ReadConfig(media="images"))
    assert found.table["clip_id"].to_pylist() == ["a.jpg"]
    with pytest.raises(ConfigError, match=r"--media images: chooses among the files of a folder, .* is table"):
        list_clips(root, "table", str(tmp_path), limit=None, seed=0, read=ReadConfig(media="images"))
