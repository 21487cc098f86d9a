"""The clips at both ends: whose frames they show, and what a card says."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
from made_reports import fill_page, replace_column

from m3ray.datasets.catalogue import write_catalogue
from m3ray.reports.clip_section import add_clips, find_scored_root, read_uris
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.dataset_record import DatasetRecord
from m3ray.storage.root import Root
from m3ray.storage.root_record import write_record


def write_predictions(root, names, catalogue=None, job="predict"):
    """Predictions of some clips, with the place of their catalogue noted if it is given."""
    made = {"bundle": "m3s", "job": job} | ({} if catalogue is None else {"catalogue": catalogue})
    frame = pd.DataFrame({"clip_id": names, "score": np.linspace(0.9, 0.1, len(names)), "low": 0.0, "high": 1.0})
    table = pa.Table.from_pandas(frame, preserve_index=False)
    root.write_table(table.replace_schema_metadata({b"m3ray": json.dumps(made)}), "predictions.parquet")


def write_catalogues(root, **uris):
    for name, uri in uris.items():
        where = root.subroot(*([name.replace("_", "-")] if name != "own" else []))
        write_catalogue(where, catalogue_table([Clip("a.mp4", uri)]), 0)


def test_frames_are_those_of_the_clips_that_were_scored(tmp_path):
    """A second folder of equal names stood beside the first one's frames."""
    root = Root(str(tmp_path))
    write_catalogues(root, own="/own/a.mp4", predict="/monday/a.mp4", predict_0a1b="/tuesday/a.mp4")
    for noted, uri in (("", "/own/a.mp4"), ("predict", "/monday/a.mp4"), ("predict-0a1b", "/tuesday/a.mp4")):
        write_predictions(root, ["a.mp4"], noted)
        assert read_uris(find_scored_root(root), ["a.mp4"]) == {"a.mp4": uri}
    write_predictions(root, ["a.mp4"], "predict-ffff")
    assert read_uris(find_scored_root(root), ["a.mp4"]) == {}, "its catalogue is gone"


def test_without_a_note_frames_are_shown_where_one_catalogue_alone_has_the_clips(tmp_path):
    root = Root(str(tmp_path))
    write_catalogues(root, own="/own/a.mp4")
    write_predictions(root, ["a.mp4"])
    assert read_uris(find_scored_root(root), ["a.mp4"]) == {"a.mp4": "/own/a.mp4"}
    write_catalogues(root, predict="/monday/a.mp4")
    assert read_uris(find_scored_root(root), ["a.mp4"]) == {}, "it could be either"
    write_predictions(root, ["a.mp4"], job="reproduce")
    assert read_uris(find_scored_root(root), ["a.mp4"]) == {"a.mp4": "/own/a.mp4"}, "that scores the root's own alone"


def test_the_page_says_of_which_data_set_the_scored_clips_are(root):
    room = root.subroot("predict-0a1b")
    write_catalogues(root, predict_0a1b="/tuesday/a.mp4")
    write_record(room, DatasetRecord("folder", "/tuesday"))
    write_predictions(root, ["a.mp4"], "predict-0a1b")
    assert fill_page(root, add_clips).details["Clips with scores below"] == "1, of the folder /tuesday"
    room.write_bytes(b"{", "dataset.json")
    assert "Clips with scores below" not in fill_page(root, add_clips).details, "a caption costs no report"


def test_videos_that_are_gone_leave_cards_without_a_frame(root):
    replace_column(root, "uri", ["/nowhere/x.mp4"] * 240)
    page = fill_page(root, add_clips)
    assert [card["picture"] for group in page.clips for card in group["clips"]] == [None] * 16
