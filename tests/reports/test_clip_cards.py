"""Cards of clips: what is missing is left out, and what explains a score is made of the same file."""

import numpy as np
import pandas as pd
from made_beside import write_neighbours
from made_reports import make_small_root
from made_scores import scored_root

from m3ray.reports.clip_cards import CardMaker, read_sparks, read_uris

PREDICTIONS = ("predictions.parquet",)
FRAME = pd.DataFrame(
    {
        "clip_id": ["a.mp4", "gone.mp4"],
        "score": [0.7, np.nan],
        "split": ["train", None],
        "low": [0.6, np.nan],
        "high": [0.8, np.nan],
        "share_raw": [-0.1, np.nan],
        "share_scene": [0.2, np.nan],
        "inside": [0.5, np.nan],
    }
)


def test_a_card_has_score_interval_shares_and_mark(tmp_path):
    first, second = CardMaker(scored_root(tmp_path), PREDICTIONS, None, FRAME).make_cards()
    assert (first["score"], first["interval"], first["mark"]) == ("0.700", "0.60 to 0.80", "training clip")
    assert [(s["tier"], s["text"], s["width"], s["side"]) for s in first["shares"]] == [
        ("raw", "-0.100", 25, "minus"),
        ("scene", "+0.200", 50, "plus"),
    ]
    assert first["why"]["inside"].startswith("50 %")
    assert (second["score"], second["interval"], second["shares"], second["why"]) == ("no score", "", [], None)


def test_training_clips_are_looked_for_in_the_root_s_own_catalogue(tmp_path, monkeypatch):
    root = make_small_root(tmp_path)
    asked = []
    from m3ray.reports import clip_cards

    monkeypatch.setattr(clip_cards, "read_first_frames", lambda uris, width=0: asked.append((dict(uris), width)) or {})
    catalogue = root.read_table("catalogue.parquet", columns=["clip_id", "uri"]).to_pylist()
    scored_root(tmp_path)
    write_neighbours(root, ["a.mp4"], [row["clip_id"] for row in catalogue[:2]])
    CardMaker(root, PREDICTIONS, None, FRAME)
    assert asked[1][0] == {row["clip_id"]: row["uri"] for row in catalogue[:2]}
    assert asked[1][1] > 0


def test_curves_are_read_where_there_are_some(tmp_path):
    root = scored_root(tmp_path, curves=[[0.2, 0.6], [0.5], []])
    assert set(read_sparks(root, PREDICTIONS, pd.Series(["a.mp4", "b.mp4"]))) == {"a.mp4"}
    plain = scored_root(tmp_path / "plain")
    assert read_sparks(plain, PREDICTIONS, pd.Series(["a.mp4"])) == {}


def test_without_a_catalogue_nothing_is_read():
    assert read_uris(None, ["a"]) == {}
