"""Files of a root that are given to others."""

import base64
import getpass
import json

import pyarrow as pa
import pytest

from m3ray.errors import ConfigError
from m3ray.reports.packed_files import pack_root
from m3ray.storage.root import Root
from m3ray.storage.root_record import RECORD_FILE

FIGURE, FRAME = b"\x89PNG figure", b"\xff\xd8\xff frame"
SOURCE = "/home/ada/my clips"


def fill(root, dataset="folder"):
    """A root of a job as far as packing sees it, with paths of a machine wherever one may stand."""
    pictures = "".join(
        f'<img src="data:image/png;base64,{base64.b64encode(data).decode()}">' for data in (FIGURE, FRAME)
    )
    page = f"<p>{root.uri}/report of {SOURCE}/a.mp4</p>{pictures}"
    settings = {"splits": f"{SOURCE}/splits.csv"}
    record = {"m3ray": 1, "dataset": dataset, "source": SOURCE, "settings": settings, "tiers": ["raw"], "real": SOURCE}
    texts = {
        "report/index.html": page.encode(),
        "report/figures/figure2.png": FIGURE,
        "report/figures/figure5.png": FRAME,
        "report/figures/figure5.csv": b"clip,score\n",
        "report/tables/table1.md": b"| a | b |\n",
        "study/ablation/trials.json": json.dumps({"from": root.uri, "rho": 0.5}).encode(),
        "study/ablation/parts/m3/model.safetensors": b"weights",
        "study/planted.json": b"{}",
        "runs/r1/config.json": json.dumps({"options": {"root": SOURCE, "out": root.uri}, "host": "lab-7"}).encode(),
        "runs/r1/summary.json": json.dumps({"host": "lab-7", "pid": 3, "seconds": 1.5}).encode(),
        "runs/r1/log.txt": b"a secret",
        "models/m3s/model.safetensors": b"weights",
        "artifacts/tiers.json": b"{}",
        "demo/a.mp4": b"a clip",
        RECORD_FILE: json.dumps(record).encode(),
    }
    for name, data in texts.items():
        root.write_bytes(data, *name.split("/"))
    table = pa.table({"clip_id": ["a", "b"], "uri": [f"{SOURCE}/a.mp4", None], "rho": [0.1, 0.2]})
    root.write_table(
        table.replace_schema_metadata({"made": f"in {root.uri}"}), "study", "ablation", "predictions.parquet"
    )
    root.write_table(pa.table({"rho": [0.5]}), "study", "ablation", "trials.parquet")
    root.write_table(pa.table({"clip_id": ["a"], "brightness": [0.5]}), "features", "raw-1", "part.parquet")
    return root


@pytest.fixture
def root(tmp_path):
    return fill(Root(str(tmp_path / "results")))


def test_results_are_packed_and_clips_logs_and_weights_are_not(root):
    names = set(pack_root(root).files)
    assert names == {
        "report/index.html",
        "report/figures/figure2.png",
        "report/tables/table1.md",
        "study/ablation/predictions.parquet",
        "study/ablation/trials.json",
        "study/ablation/trials.parquet",
        "study/planted.json",
        "runs/r1/config.json",
        "runs/r1/summary.json",
        RECORD_FILE,
    }
    assert set(pack_root(root, with_features=True).files) == names | {"features/raw-1/part.parquet"}


def test_no_path_and_no_name_of_the_machine_is_left(root, tmp_path):
    packed = pack_root(root)
    for name, data in packed.files.items():
        for word in (b"/home/ada", str(tmp_path).encode(), b"lab-7", b"a secret"):
            assert word not in data, (name, word)
    assert json.loads(packed.files["runs/r1/config.json"])["options"] == {"root": "my clips", "out": "results"}
    assert json.loads(packed.files["runs/r1/summary.json"]) == {"seconds": 1.5}
    table = pa.parquet.read_table(pa.BufferReader(packed.files["study/ablation/predictions.parquet"]))
    assert table["uri"].to_pylist() == ["a.mp4", None]
    assert table["rho"].to_pylist() == [0.1, 0.2]
    assert table.schema.metadata[b"made"] == b"in results"
    assert packed.replaced >= 2


def test_lists_and_dictionaries_of_texts_in_tables_have_no_path(root):
    encoded = pa.array([f"{SOURCE}/a.mp4", None]).dictionary_encode()
    table = pa.table(
        {
            "files": pa.array([[f"{SOURCE}/a.mp4", "plain"], None]),
            "kind": encoded,
            "both": pa.array([{"uri": "/mnt/lab/x", "n": 1}, None]),
            "pairs": pa.array([[("a", "/mnt/lab/x")], None], pa.map_(pa.string(), pa.string())),
            "numbers": pa.array([[1.5], None]),
        }
    )
    root.write_table(table, "study", "ablation", "nested.parquet")
    packed = pa.parquet.read_table(pa.BufferReader(pack_root(root).files["study/ablation/nested.parquet"]))
    assert packed.schema.types == table.schema.types
    assert packed.to_pydict() == {
        "files": [["a.mp4", "plain"], None],
        "kind": ["a.mp4", None],
        "both": [{"uri": "x", "n": 1}, None],
        "pairs": [[("a", "x")], None],
        "numbers": [[1.5], None],
    }


def test_ids_that_are_paths_stay_apart_and_are_the_same_in_all_files(root):
    ids = ["/mnt/a/x.mp4", "/mnt/b/x.mp4"]
    root.write_table(pa.table({"clip_id": ids, "neighbour": ids[::-1]}), "study", "ablation", "predictions.parquet")
    root.write_table(pa.table({"clip_id": ids[1:]}), "study", "ablation", "few.parquet")
    root.write_bytes(f"<td>{ids[1]}</td>".encode(), "report", "index.html")
    root.write_bytes(f"clip\n{ids[1]}\n".encode(), "report", "tables", "clips.csv")
    root.write_json(dict.fromkeys(ids, 1), "study", "planted.json")
    files = pack_root(root).files
    tables = [
        pa.parquet.read_table(pa.BufferReader(files[f"study/ablation/{name}.parquet"])).to_pydict()
        for name in ("predictions", "few")
    ]
    assert tables[0] == {"clip_id": ["x.mp4", "x-2.mp4"], "neighbour": ["x-2.mp4", "x.mp4"]}
    assert tables[1] == {"clip_id": ["x-2.mp4"]}
    assert files["report/index.html"] == b"<td>x-2.mp4</td>"
    assert files["report/tables/clips.csv"] == b"clip\nx-2.mp4\n"
    assert json.loads(files["study/planted.json"]) == {"x.mp4": 1, "x-2.mp4": 1}


def test_what_needs_no_change_has_none(root):
    packed = pack_root(root)
    for name in ("study/ablation/trials.parquet", "report/figures/figure2.png", "report/tables/table1.md"):
        assert packed.files[name] == root.read_bytes(*name.split("/"))
    assert pack_root(root).files == packed.files


@pytest.mark.parametrize(
    ("dataset", "frames", "kept"),
    [
        ("folder", "auto", False),
        ("memento10k", "auto", False),
        ("demo", "auto", True),
        ("demo", "remove", False),
        ("folder", "keep", True),
    ],
)
def test_frames_are_given_on_only_where_that_is_allowed(tmp_path, dataset, frames, kept):
    root = fill(Root(str(tmp_path / "results")), dataset)
    packed = pack_root(root, frames)
    assert (packed.frames, packed.are_frames_kept) == (1, kept)
    assert (base64.b64encode(FRAME) in packed.files["report/index.html"]) is kept
    assert base64.b64encode(FIGURE) in packed.files["report/index.html"]
    assert ("report/figures/figure5.png" in packed.files) is kept


def test_the_user_s_name_is_left_out(root, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "lovelace")
    root.write_bytes(b"made by lovelace", "report", "tables", "table1.md")
    assert pack_root(root).files["report/tables/table1.md"] == b"made by user"


def test_a_root_in_s3_is_packed_alike(s3, root):
    s3.create_bucket(Bucket="packed")
    far = fill(Root("s3://packed/results"))
    assert set(pack_root(far).files) == set(pack_root(root).files)
    assert not [name for name, data in pack_root(far).files.items() if b"s3://packed" in data]


def test_a_folder_that_is_no_root_is_told(tmp_path):
    with pytest.raises(ConfigError, match="holds neither a report nor a study"):
        pack_root(Root(str(tmp_path)))
