"""Made viewers of made roots: counts of hits and false alarms, and what follows from them."""

import numpy as np
import pyarrow as pa
from made_roots import made_root
from scipy.stats import norm

from m3ray.schema import CATALOGUE_FILE, MEMORY
from m3ray.storage.catalogue_file import read_catalogue


def made_viewed_root(folder, rows=200, viewers=40, seed=0, test=0):
    """A made root whose score is the share of `viewers` who recognise a clip; the last `test` clips are of test."""
    root, rng = made_root(folder, rows=rows, seed=seed), np.random.default_rng(seed)
    table = read_catalogue(root)
    truth = np.array(table["score"].to_pylist())
    hits, alarms = rng.binomial(viewers, truth), rng.binomial(viewers, 0.05 + 0.25 * rng.random(rows))
    p, f = hits / viewers, alarms / viewers
    splits = [*table["split"].to_pylist()[: rows - test], *["test"] * test]
    table = table.set_column(table.column_names.index("score"), "score", pa.array(p))
    table = table.set_column(table.column_names.index("split"), "split", pa.array(splits))
    root.write_table(table, CATALOGUE_FILE)
    return add_viewers(
        root,
        responses=np.full(rows, viewers),
        hits=hits,
        false_alarms=alarms,
        false_alarm_responses=np.full(rows, viewers),
        hit_rate=p,
        false_alarm_rate=f,
        corrected=p - f,
        d_prime=norm.ppf((hits + 0.5) / (viewers + 1)) - norm.ppf((alarms + 0.5) / (viewers + 1)),
        alpha=-2e-4 - 1e-3 * (1 - truth),
    )


def add_viewers(root, **columns):
    """The root with columns of what viewers did in the place of those that it had."""
    table = read_catalogue(root)
    for name, values in columns.items():
        column = pa.array(values, from_pandas=True).cast(MEMORY.field(name).type)
        table = table.drop([name]) if name in table.column_names else table
        table = table.append_column(name, column)
    root.write_table(table, CATALOGUE_FILE)
    return root
