"""A tier of two numbers that tell a clip's bytes, and extraction of it as the jobs do it, without Ray."""

import hashlib
import os

import boto3
import numpy as np

from m3ray.config import TierConfigs
from m3ray.datasets.catalogue import write_catalogue
from m3ray.datasets.registry import list_clips
from m3ray.pipelines.extraction.planning import plan, prepare, tidy
from m3ray.pipelines.extraction.records import (
    Computed,
    Decoded,
    Failure,
    computed_table,
    decoded_rows,
    decoded_table,
    work_rows,
)
from m3ray.pipelines.extraction.tier_stage import TierColumns
from m3ray.pipelines.extraction.write_stage import WriteStage
from m3ray.schema import vector_schema
from m3ray.storage.homes import Origin
from m3ray.storage.tier_index import tier_table


def client():
    return boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name="us-east-1")


class Digest:
    """A tier of two numbers that tell a file's bytes."""

    whole_clip, untrained = True, False

    def __init__(self, name):
        self.name, self.schema = name, vector_schema(name, 2)

    def identity(self):
        return {"tier": self.name, "code": 1}


TIERS = (Digest("one"), Digest("two"))


def told(data):
    return np.frombuffer(hashlib.sha256(data).digest()[:2], np.uint8).astype(float)


def read(uri):
    """The bytes of a clip; empty where it is gone. What lies behind an address of the web is its path."""
    if uri.startswith("https://"):
        return uri.partition("?")[0].encode()
    try:
        if uri.startswith("s3://"):
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            return client().get_object(Bucket=bucket, Key=key)["Body"].read()
        with open(uri, "rb") as file:
            return file.read()
    except Exception:
        return b""


def compute(root, catalogue, *, tiers=TIERS, retry=False):
    """As extraction does it: plan, put in order, compute, write, tidy. Returns the plan and the clips computed."""
    planned = plan(root, catalogue, tiers, TierConfigs(), retry=retry)
    ready = prepare(planned)
    if ready.work.num_rows:
        write(ready)
    tidy(ready)
    return planned, sorted(ready.work["clip_id"].to_pylist())


def write(ready):
    rows = [computed(row, ready.tiers) for row in decoded_rows(decoded_table(work_rows(ready.work)))]
    columns = [TierColumns(tier.name, tier.schema) for tier in ready.tiers]
    stage = WriteStage(ready.root, columns, ready.folders, ready.metadata(TierConfigs().decode))
    stage(computed_table(rows, {tier.name: [packed(row, tier) for row in rows] for tier in ready.tiers}))


def computed(row: Decoded, tiers):
    data = read(row.uri)
    if not data:
        return Computed(row.clip_id, row.uri, None, content=row.content).failed(Failure("read", "missing_file", "gone"))
    values = {tier.name: {tier.name: told(data)} for tier in tiers if tier.name in row.tiers}
    return Computed(row.clip_id, row.uri, None, values, content=row.content)


def packed(row, tier):
    return row.values[tier.name][tier.name].tobytes() if tier.name in row.values else None


def holds(root, catalogue, tier="one"):
    """Whether the root has just the right numbers of each clip of the catalogue."""
    rows = dict(zip(*(tier_table(root, tier)[name].to_pylist() for name in ("clip_id", tier)), strict=True))
    assert len(rows) == root.read_shards("features", folder(root, tier)).num_rows
    uris = zip(catalogue["clip_id"].to_pylist(), catalogue["uri"].to_pylist(), strict=True)
    return all(rows[clip] == told(read(uri)).tolist() for clip, uri in uris)


def folder(root, tier):
    return root.read_json("artifacts", "tiers.json")[tier]["folder"]


def listed(root, source, dataset="folder", by="fast"):
    table = list_clips(root, dataset, str(source), limit=None, seed=0).table
    return write_catalogue(root, table, 0, origin=Origin((str(source),), by=by))


def fill(where, count, seed=0, sizes=(3, 400)):
    """Files of random bytes."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        path = where / f"{k % 7}" / f"{k:04d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.bytes(int(rng.integers(*sizes))))
