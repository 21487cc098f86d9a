"""The clips to score: where their features are kept, and their catalogue."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from m3ray.config import fingerprint
from m3ray.config.options import PredictOptions
from m3ray.datasets.catalogue import write_catalogue
from m3ray.pipelines.extraction.run import tell_listing
from m3ray.request.checks import Request
from m3ray.schema import CATALOGUE_FILE, Clip, catalogue_table
from m3ray.storage.dataset_record import Record, absolute_path, real_path
from m3ray.storage.homes import Origin
from m3ray.storage.ownership import PREDICT_ROOM
from m3ray.storage.root import Root
from m3ray.storage.root_record import NAME as RECORD
from m3ray.storage.root_record import read_record, write_record


def room_of(root: Root, asked: Request[PredictOptions]) -> Root:
    """Where the new clips' catalogue, features and rejects are kept, apart from those the model was trained on.

    Each data set has a room of its own, the first one `predict/`: the same name in two folders is not the same video.
    """
    record, room = _record_of(asked), root.below(PREDICT_ROOM)
    if _is_free(room, record, asked):
        return room
    return root.below(f"{PREDICT_ROOM}-{fingerprint(record.dataset, record.real)}")


def _record_of(asked: Request[PredictOptions]) -> Record:
    options = asked.options
    source = options.root or ",".join(sorted(tier.source for tier in asked.brought))
    return Record(options.dataset if options.root else "brought", absolute_path(source), real=real_path(source))


def _is_free(room: Root, record: Record, asked: Request[PredictOptions]) -> bool:
    """Whether a room is this data set's, or nobody's; one without a record, if no clip of it has moved."""
    earlier = read_record(room)
    if earlier is None:
        return True
    if room.exists(RECORD):
        return earlier.is_of(record)
    if asked.listed is None:
        return True
    known = room.read_table(CATALOGUE_FILE, columns=["clip_id", "uri"])
    there = pc.index_in(asked.listed.table["clip_id"].cast(pa.string()), known["clip_id"].cast(pa.string()))
    uris = known["uri"].take(there.drop_null())
    return pc.all(pc.equal(uris, asked.listed.table["uri"].filter(pc.is_valid(there)))).as_py() is not False


def new_clips(room: Root, asked: Request[PredictOptions]) -> pa.Table:
    """The catalogue of the clips to score: a data set's, or the clips of the tiers brought."""
    options, listed = asked.options, asked.listed
    write_record(room, _record_of(asked))
    if listed is None:
        ids = sorted(set.intersection(*(set(tier.ids) for tier in asked.brought)))
        return write_catalogue(room, catalogue_table([Clip(name, "") for name in ids[: options.limit]]), 0)
    tell_listing(room, listed, dry=options.dry_run)
    origin = Origin((options.root, options.videos), by=options.identity)
    return write_catalogue(room, listed.table, 0, origin=origin)
