"""Roots as `predict.py` leaves them: scores of clips that are listed in a folder of their own."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa

from m3ray.datasets.catalogue import write_catalogue
from m3ray.schema import REJECTS, Clip, catalogue_table
from m3ray.storage.dataset_record import DatasetRecord
from m3ray.storage.root import Root
from m3ray.storage.root_record import write_record

RESMEM = {
    "scorer": "resmem",
    "title": "ResMem",
    "predicts": "score",
    "trained_on": "images of LaMem and MemCat",
    "licence": "noncommercial use only",
    "source": "Needell and Bainbridge 2022",
    "sees": "images alone: no motion, no sound",
    "calibrated": False,
}


def write_scores(root, names, folder="predict", file=None, provenance=RESMEM, curves=None, rejects=(), source="0a"):
    """Scores of some clips, falling, of a data set in a folder; with an interval where m3ray trained the model."""
    workspace = root.subroot(folder)
    write_catalogue(workspace, catalogue_table([Clip(name, f"/{folder}/{name}") for name in (*names, *rejects)]), 0)
    write_record(workspace, DatasetRecord("folder", f"/{folder}"))
    rows = [
        {"clip_id": n, "uri": "x", "stage": "decode", "error": "damaged", "message": "<b>no frame</b>"} for n in rejects
    ]
    if rows:
        workspace.write_shard(pa.Table.from_pylist(rows, schema=REJECTS), ("rejects",), {})
    bound = [None if provenance else 0.5] * len(names)
    frame = pd.DataFrame({"clip_id": names, "score": np.linspace(0.9, 0.4, len(names)), "spread": 0.01})
    frame = frame.assign(low=pd.array(bound, "Float64"), high=pd.array(bound, "Float64"), split=None)
    if curves is not None:
        frame["times"], frame["curve"] = [[0.5 + k for k in range(len(c))] for c in curves], curves
    made = {"bundle": "resmem" if provenance else "m3s", "untrained": False, "job": "predict", "catalogue": folder}
    made |= {"source": source} if source else {}
    made |= {"provenance": provenance} if provenance else {}
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({b"m3ray": json.dumps(made)})
    root.write_table(table, *(file or ("predictions.parquet",)))


def scored_root(folder, names=("a.mp4", "b.mp4", "c.jpg"), **options):
    root = Root(str(folder))
    write_scores(root, list(names), **options)
    return root
