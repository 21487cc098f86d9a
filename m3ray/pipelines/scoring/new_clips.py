"""New clips to score: the workspace that holds their features, and their catalogue."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import fingerprint
from m3ray.config.options import PredictOptions
from m3ray.datasets.catalogue import write_catalogue
from m3ray.pipelines.extraction.catalogue_update import report_listing
from m3ray.request.checks import Request
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.dataset_folders import DatasetOrigin
from m3ray.storage.dataset_record import DatasetRecord, absolute_path, real_path
from m3ray.storage.ownership import PREDICT_FOLDER
from m3ray.storage.root import Root
from m3ray.storage.root_record import RECORD_FILE as RECORD
from m3ray.storage.root_record import read_record, write_record


def find_workspace(root: Root, request: Request[PredictOptions]) -> Root:
    """Find the folder for the new clips' catalogue, features and rejects, apart from those of the train split.

    Each data set has a workspace of its own, the first one `predict/`: videos of one name in two folders are two.

    Args:
        root: Root that the predictions go to.
        request: The checked request.
    Returns:
        The workspace, which may not exist yet.
    """
    record, workspace = _make_record(request), root.subroot(PREDICT_FOLDER)
    if _is_free(workspace, record, request):
        return workspace
    return root.subroot(f"{PREDICT_FOLDER}-{fingerprint(record.dataset, record.real)}")


def _make_record(request: Request[PredictOptions]) -> DatasetRecord:
    options = request.options
    source = options.root or ",".join(sorted(tier.source for tier in request.user_tiers))
    return DatasetRecord(options.dataset if options.root else "brought", absolute_path(source), real=real_path(source))


def _is_free(workspace: Root, record: DatasetRecord, request: Request[PredictOptions]) -> bool:
    """Whether a workspace is this data set's, or nobody's; one without a record, if no clip of it has moved."""
    earlier = read_record(workspace)
    if earlier is None:
        return True
    if workspace.exists(RECORD):
        return earlier.is_of(record)
    if request.listing is None:
        return True
    clips, earlier_clips = request.listing.table, read_catalogue(workspace, ["clip_id", "uri"])
    rows = pc.index_in(clips["clip_id"].cast(pa.string()), earlier_clips["clip_id"].cast(pa.string()))
    uris = earlier_clips["uri"].take(rows.drop_null())
    return pc.all(pc.equal(uris, clips["uri"].filter(pc.is_valid(rows)))).as_py() is not False


def write_new_catalogue(workspace: Root, request: Request[PredictOptions]) -> pa.Table:
    """Write the catalogue of the clips to score: a data set's, or the clips of the user-provided tiers.

    Args:
        workspace: Workspace of the data set.
        request: The checked request.
    Returns:
        The catalogue.
    """
    options, listing = request.options, request.listing
    write_record(workspace, _make_record(request))
    if listing is None:
        ids = sorted(set.intersection(*(set(tier.ids) for tier in request.user_tiers)))
        return write_catalogue(workspace, catalogue_table([Clip(name, "") for name in ids[: options.limit]]), 0)
    report_listing(workspace, listing, dry=options.dry_run)
    origin = DatasetOrigin((options.root, options.videos), by=options.identity)
    return write_catalogue(workspace, listing.table, 0, origin=origin)
