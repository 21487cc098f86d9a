"""Maps, neighbours and shots beside a file of scores, made by hand."""

import json

import pandas as pd
import pyarrow as pa
from made_maps import make_map

from m3ray.pipelines.scoring.map_worker import describe_map, find_peak
from m3ray.scoring.explanations import cells_table
from m3ray.scoring.explanations.explained_files import write_explained, write_failure
from m3ray.scoring.explanations.map_pictures import draw_pictures
from m3ray.storage.beside_predictions import EXPLANATIONS, NEIGHBOURS, SHOTS, place_beside
from m3ray.storage.parquet_tables import METADATA_KEY

PREDICTIONS = ("predictions.parquet",)


def read_made(root, predictions=PREDICTIONS):
    """What the file of scores says of how it was made."""
    return root.read_metadata(*predictions)


def write_map(root, clip, predictions=PREDICTIONS, explanation=None, **origin):
    explanation = explanation or make_map(clip)
    shown = draw_pictures(explanation)
    row = {
        "clip_id": clip,
        "method": "occlusion",
        **{name: getattr(explanation, name) for name in ("score", "evaluations", "segments", "rows", "columns")},
        **find_peak(explanation),
        **describe_map(explanation),
        "scale": shown.scale,
        "picture_times": list(shown.times),
        "pictures": list(shown.pictures),
    }
    folder = root.subroot(*place_beside(predictions, EXPLANATIONS))
    overlay = ("png" if explanation.is_image else "webp", b"")
    made = {**read_made(root, predictions), **origin}
    return write_explained(folder, row | {"source": made.get("source")}, cells_table(explanation), overlay, made)


def write_no_map(root, clip, reason, predictions=PREDICTIONS):
    folder = root.subroot(*place_beside(predictions, EXPLANATIONS))
    made = read_made(root, predictions)
    write_failure(folder, {"clip_id": clip, "reason": reason, "source": made.get("source")}, made)


def write_neighbours(root, clips, train, predictions=PREDICTIONS, spaces=("scene", "model"), **origin):
    """Of each clip five training clips in each space, in the order given; the first has the score 0.5."""
    rows = [
        {
            "clip_id": clip,
            "space": space,
            "rank": rank,
            "neighbour": name,
            "distance": rank / 10,
            "true_score": 0.4 + rank / 10,
        }
        for clip in clips
        for space in spaces
        for rank, name in enumerate(train[:5], start=1)
    ]
    _write(root, pd.DataFrame(rows), NEIGHBOURS, predictions, origin)


def write_shots(root, shots, predictions=PREDICTIONS, **origin):
    """Shots of clips: from a clip's id to the scores of its shots, each of two seconds."""
    rows = [
        {"clip_id": clip, "shot": k, "start": 2.0 * k, "end": 2.0 * k + 2, "score": score, "spread": 0.01}
        for clip, scores in shots.items()
        for k, score in enumerate(scores)
    ]
    _write(root, pd.DataFrame(rows), SHOTS, predictions, origin)


def _write(root, frame, name, predictions, origin):
    made = {**read_made(root, predictions), **origin}
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({METADATA_KEY: json.dumps(made)})
    root.write_table(table, *place_beside(predictions, name))
