"""What a bundle records of its data."""

import json

import numpy as np
import pyarrow as pa
from trained_studies import train_study

from m3ray.datasets.duplicates import DUPLICATES_FILE, DUPLICATES_SCHEMA
from m3ray.features.load import load_data
from m3ray.scoring.data_facts import record_data
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root_record import RECORD_FILE


def add_columns(root, **columns):
    table = read_catalogue(root)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    root.write_table(table, "catalogue.parquet")


def test_data_are_counted_and_their_path_is_left_out(tmp_path):
    study, _, _ = train_study(tmp_path)
    settings = {"seed": 3, "group": "film", "splits": "/home/ada/secret/splits.csv"}
    record = {"m3ray": 1, "dataset": "table", "source": "/home/ada/clips.csv", "settings": settings, "tiers": []}
    study.root.write_json(record, RECORD_FILE)
    rows = read_catalogue(study.root).num_rows
    add_columns(study.root, responses=np.arange(10.0, 10 + rows))
    study = type(study)(study.root, "small", load_data(study.root, ("raw", "scene")), (0,))
    facts = record_data(study)
    assert (facts["dataset"], facts["clips"]) == ("table", rows)
    assert (facts["train"], facts["val"], facts["test"]) == tuple(
        len(part) for part in (study.data.train, study.data.val, study.data.test)
    )
    assert facts["split"] == {"seed": 3, "group": "film", "file": "splits.csv"}
    counts = study.data.responses[np.concatenate([study.data.train, study.data.val, study.data.test])]
    assert facts["responses"] == {
        "clips": len(counts),
        "fewest": counts.min(),
        "median": np.median(counts),
        "most": counts.max(),
    }
    assert facts["ceiling"]["val"]["clips"] == len(study.data.val)
    assert "ada" not in json.dumps(facts)


def test_what_nobody_looked_for_is_unknown_and_what_was_not_found_is_told(tmp_path):
    study, _, _ = train_study(tmp_path)
    facts = record_data(study)
    assert (facts["responses"], facts["near_duplicates"]) == (None, None)
    assert facts["ceiling"]["val"]["reason"]
    study.root.write_table(DUPLICATES_SCHEMA.empty_table(), *DUPLICATES_FILE)
    assert record_data(study)["near_duplicates"] == "none found"
    ids = [study.data.features.clip_ids[row] for row in (study.data.train[0], study.data.val[0])]
    rows = {"clip_id": ids, "group": [0, 0], "kind": ["content"] * 2, "similarity": [1.0] * 2, "nearest": ids[::-1]}
    study.root.write_table(pa.table(rows).cast(DUPLICATES_SCHEMA), *DUPLICATES_FILE)
    assert record_data(study)["seen_duplicates"] == {"val": 1, "test": 0}
    assert record_data(study)["near_duplicates"] == (
        "2 clips in 1 group, the largest of 2; 1 group stands on two sides of the split: 1 val clip has one in train"
    )
