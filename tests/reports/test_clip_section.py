"""The clips at both ends: whose frames they show, and what a card says."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
from made_reports import fill_page, replace_column

from m3ray.datasets.catalogue import write_catalogue
from m3ray.reports.clip_cards import read_uris
from m3ray.reports.clip_section import add_clips, find_scored_root
from m3ray.reports.page import _render
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


def write_scored(root, splits):
    """Predictions of the root's own clips by falling score, with the splits given, and no tier's share."""
    names = [f"c{k:03d}" for k in range(len(splits))]
    scores = np.linspace(0.9, 0.1, len(names))
    frame = pd.DataFrame({"clip_id": names, "score": scores, "low": 0.0, "high": 1.0, "split": splits})
    made = json.dumps({"bundle": "m3s", "job": "reproduce", "catalogue": ""})
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({b"m3ray": made})
    root.write_table(table, "predictions.parquet")
    return dict(zip(names, splits, strict=True))


def shown_cards(page):
    return [card for group in page.clips for card in group["clips"]]


def test_the_gallery_is_of_clips_that_trained_nothing(root):
    """Of 12 train clips among 16 nothing was said: the model had seen their scores."""
    splits = write_scored(root, (["train"] * 3 + ["val", "test"]) * 10)
    page = fill_page(root, add_clips)
    cards = shown_cards(page)
    assert [splits[card["id"]] for card in cards].count("train") == 0
    assert len(cards) == 16
    assert {card["mark"] for card in cards} == {""}
    assert page.clips_note == "Chosen among the 20 clips that the model did not train on (10 val, 10 test)."
    assert [card["id"] for card in page.clips[0]["clips"][:2]] == ["c003", "c004"]
    assert page.clips[1]["clips"][0]["id"] == "c049", "the least memorable first"


def test_train_clips_fill_up_where_others_are_too_few_and_are_marked(root):
    splits = write_scored(root, (["train"] * 9 + ["val"]) * 4)
    page = fill_page(root, add_clips)
    cards = shown_cards(page)
    assert len(cards) == 16
    assert sum(splits[card["id"]] == "val" for card in cards) == 4
    assert all((card["mark"] == "training clip") == (splits[card["id"]] == "train") for card in cards)
    assert page.clips_note == (
        "Chosen among the 4 clips that the model did not train on (4 val). They are too few: 12 of the 16 shown are "
        "training clips, and marked as such."
    )
    html = _render(page)
    assert html.count('<div class="mark">training clip</div>') == 12
    assert page.clips_note in html


def test_clips_of_another_folder_are_new(root):
    write_scored(root, [None] * 20)
    page = fill_page(root, add_clips)
    assert page.clips_note == "Chosen among the 20 clips that the model did not train on (20 new)."


def test_older_predictions_take_their_splits_from_the_root_s_catalogue(root):
    """The root of this fixture is one: every fifth clip is val, and its predictions do not say so."""
    write_scored(root, ["train"] * 240)
    catalogue = root.read_table("catalogue.parquet").to_pandas()
    frame = root.read_table("predictions.parquet").to_pandas().drop(columns="split")
    table = pa.Table.from_pandas(frame.assign(clip_id=catalogue["clip_id"]), preserve_index=False)
    made = json.dumps({"bundle": "m3s", "job": "reproduce", "catalogue": ""})
    root.write_table(table.replace_schema_metadata({b"m3ray": made}), "predictions.parquet")
    page = fill_page(root, add_clips)
    splits = dict(zip(catalogue["clip_id"], catalogue["split"], strict=True))
    assert {splits[card["id"]] for card in shown_cards(page)} == {"val"}
    assert page.clips_note == "Chosen among the 48 clips that the model did not train on (48 val)."


def test_videos_that_are_gone_leave_cards_without_a_frame(root):
    replace_column(root, "uri", ["/nowhere/x.mp4"] * 240)
    page = fill_page(root, add_clips)
    assert [card["picture"] for group in page.clips for card in group["clips"]] == [None] * 16


def test_an_interval_that_is_unknown_is_no_range_from_0_to_1(root):
    """What `write_scored` writes is what a bundle calibrated on fewer than 9 clips gives."""
    write_scored(root, ["val"] * 20)
    page = fill_page(root, add_clips)
    assert {card["interval"] for card in shown_cards(page)} == {"interval unknown"}
    assert "Where the interval is unknown, too few clips were there to calibrate it on" in page.clips_legend
    assert "with its 90 % interval" not in page.clips_legend
