"""Warnings on the page: of the study, of bundles, and of clips that were scored."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
from made_reports import build_html, make_small_root
from safetensors.numpy import save

from m3ray.reports import caution_section
from m3ray.reports.caution_section import read_cautions
from m3ray.scoring.bundle_metadata import INTERVALS_FILE


def write_scores(root, scores, low=0.06, high=0.92):
    frame = pd.DataFrame({"clip_id": [str(k) for k in range(len(scores))], "score": scores, "spread": 0.0})
    frame = frame.assign(low=low, high=high, share_raw=0.0)
    table = pa.Table.from_pandas(frame).replace_schema_metadata({"m3ray": json.dumps({"bundle": "m3s"})})
    root.write_table(table, "predictions.parquet")


def write_bundle(root, monkeypatch, scores, truth):
    """The parts of a bundle that the section reads."""
    root.write_bytes(b"{}", "models", "m3s", "bundle.json")
    calibration = np.stack([scores, truth]).astype(np.float32)
    root.write_bytes(save({"calibration": calibration}), "models", "m3s", INTERVALS_FILE)

    class Manifest:
        metadata = type("Metadata", (), {"calibrated_on": None})

    monkeypatch.setattr(caution_section, "read_manifest", lambda root: Manifest)


def test_scores_within_a_hundredth_are_warned_of(tmp_path):
    root = make_small_root(tmp_path, study=False)
    assert read_cautions(root) == []
    write_scores(root, np.linspace(0.494, 0.505, 50))
    (found,) = read_cautions(root)
    assert found.startswith(
        "predictions.parquet, scored by m3s: it gives all clips nearly the same score, 0.494 to 0.505"
    )
    write_scores(root, np.linspace(0.3, 0.9, 50))
    assert read_cautions(root) == []


def test_a_bundle_is_judged_on_the_clips_of_its_intervals(tmp_path, monkeypatch):
    root, truth = make_small_root(tmp_path, study=False), np.linspace(0.4, 0.9, 50)
    write_bundle(root, monkeypatch, truth, truth)
    assert read_cautions(root) == []
    write_bundle(root, monkeypatch, truth - 0.3, truth)
    found = read_cautions(root)
    assert [sentence.partition(":")[0] for sentence in found] == ["bundle m3s"] * 2
    assert "too low by 0.3" in found[1]


def test_a_bundle_of_the_study_s_own_scores_is_not_warned_of_twice(tmp_path, monkeypatch):
    root, truth = make_small_root(tmp_path), np.linspace(0.4, 0.9, 50)
    scores = truth - 0.05 + 0.02 * np.sin(np.arange(50))
    frame = pd.DataFrame({"variant": "M3-S", "truth": truth, "score": scores})
    root.write_table(pa.Table.from_pandas(frame), "study", "ablation", "predictions.parquet")
    write_bundle(root, monkeypatch, scores, truth)
    assert ["M3-S: its scores on val are too low by 0.0499" in sentence for sentence in read_cautions(root)] == [True]


def test_a_damaged_bundle_is_left_to_the_section_that_names_it(tmp_path):
    root = make_small_root(tmp_path, study=False)
    root.write_bytes(b"{}", "models", "m3s", "bundle.json")
    root.write_bytes(save({"calibration": np.zeros((2, 50), np.float32)}), "models", "m3s", INTERVALS_FILE)
    assert read_cautions(root) == []


def test_warnings_stand_below_the_headline(tmp_path):
    html = build_html(make_small_root(tmp_path))
    assert html.index('<ul class="headline">') < html.index("To be read with this.") < html.index('id="ran"')
    assert '<li id="caution1">val has 3 clips, and 30 are the fewest that tell much' in html


def test_a_healthy_page_has_no_such_box(root):
    assert read_cautions(root) == []
    assert "To be read with this." not in build_html(root)
