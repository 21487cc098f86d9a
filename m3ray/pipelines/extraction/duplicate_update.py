"""Near duplicates at the end of an extraction: found, told, and with `--group duplicates` put on one side."""

from __future__ import annotations

import logging

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config.options import ExtractOptions
from m3ray.datasets.catalogue import redraw_splits
from m3ray.datasets.duplicates import describe_duplicates, find_sides
from m3ray.datasets.groups import choose_group
from m3ray.datasets.identity import video_keys
from m3ray.datasets.unsettled_splits import read_unsettled, settle
from m3ray.features.near_duplicates import update_duplicates
from m3ray.request.checks import Request
from m3ray.schema import CATALOGUE_FILE
from m3ray.storage.dataset_folders import DatasetOrigin
from m3ray.storage.root import Root

logger = logging.getLogger(__name__)


def settle_duplicates(root: Root, catalogue: pa.Table, request: Request[ExtractOptions]) -> pa.Table:
    """Find the near duplicates of a root, and draw the splits that `--group duplicates` asks to be drawn by them.

    Args:
        root: Root of the job, which has the features.
        catalogue: Its catalogue.
        request: Options of the job, and its clips as the data set gives them.
    Returns:
        The catalogue, which is written where splits have changed.
    """
    options = request.options
    asked_for = choose_group(options.group, catalogue.column_names).duplicates
    found = update_duplicates(root, catalogue, options.duplicate_threshold, options.identity, asked_for=asked_for)
    if asked_for:
        catalogue = _redraw(root, catalogue, request)
    settle(root)
    sides = find_sides(found, catalogue)
    line = describe_duplicates(sides)
    if sides.divided and asked_for:
        line += "; the data set gives these splits, and they stay"
    elif sides.divided:
        line += "; --group duplicates keeps drawn splits apart"
    logger.info(line)
    return catalogue


def _redraw(root: Root, catalogue: pa.Table, request: Request[ExtractOptions]) -> pa.Table:
    """Draw the splits by near duplicates, and write the catalogue where that changes one."""
    options = request.options
    given = pa.chunked_array([pa.nulls(catalogue.num_rows, pa.string())])  # the demo's, which has no splits
    if request.listing is not None:
        given = request.listing.table["split"]
    keys, origin = video_keys(catalogue["uri"], options.identity), DatasetOrigin((options.root, options.videos))
    unsettled = read_unsettled(root).combine_chunks()
    drawn = redraw_splits(root, catalogue, given, options.seed, keys, origin, options.group)
    moved = pc.not_equal(drawn["split"], catalogue["split"])
    if not pc.any(moved).as_py():
        return catalogue
    of_earlier = catalogue["clip_id"].filter(moved)
    known = len(of_earlier) - (pc.sum(pc.is_in(of_earlier, value_set=unsettled)).as_py() or 0)
    logger.info(
        f"duplicates: the splits of {len(of_earlier)} clips are drawn anew, near duplicates together"
        + (f"; {known} of them stood elsewhere in earlier jobs: what these made saw them there" if known else "")
    )
    root.write_table(drawn, CATALOGUE_FILE)
    return drawn
