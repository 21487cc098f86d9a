"""A tier of two numbers that tell a clip's bytes, and extraction of it as the jobs do it, without Ray."""

import hashlib
import os

import boto3
import numpy as np

from m3ray.config import TierConfigs
from m3ray.datasets.catalogue import write_catalogue
from m3ray.datasets.registry import list_clips
from m3ray.pipelines.extraction.planning import plan
from m3ray.pipelines.extraction.records import (
    ComputedClip,
    DecodedClip,
    Failure,
    pack_computed_clips,
    pack_decoded_clips,
    unpack_decoded_clips,
    unpack_work,
)
from m3ray.pipelines.extraction.root_upkeep import prepare, tidy
from m3ray.pipelines.extraction.tier_columns import TierColumns
from m3ray.pipelines.extraction.write_stage import WriteStage
from m3ray.schema import Clip, catalogue_table, vector_schema
from m3ray.storage.dataset_folders import DatasetOrigin
from m3ray.storage.tier_index import read_tier_table


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


def digest_of(data):
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
    rows = [compute_clip(row, ready.tiers) for row in unpack_decoded_clips(pack_decoded_clips(unpack_work(ready.work)))]
    columns = [TierColumns(tier.name, tier.schema) for tier in ready.tiers]
    stage = WriteStage(ready.root, columns, ready.folders, ready.metadata(TierConfigs().decode))
    stage(pack_computed_clips(rows, {tier.name: [pack(row, tier) for row in rows] for tier in ready.tiers}))


def compute_clip(row: DecodedClip, tiers):
    data = read(row.uri)
    if not data:
        return ComputedClip(row.clip_id, row.uri, None, content=row.content).with_failure(
            Failure("read", "missing_file", "gone")
        )
    values = {tier.name: {tier.name: digest_of(data)} for tier in tiers if tier.name in row.tiers}
    return ComputedClip(row.clip_id, row.uri, None, values, content=row.content)


def pack(row, tier):
    return row.values[tier.name][tier.name].tobytes() if tier.name in row.values else None


def holds(root, catalogue, tier="one"):
    """Whether the root has just the right numbers of each clip of the catalogue."""
    rows = dict(zip(*(read_tier_table(root, tier)[name].to_pylist() for name in ("clip_id", tier)), strict=True))
    assert len(rows) == root.read_shards("features", folder(root, tier)).num_rows
    uris = zip(catalogue["clip_id"].to_pylist(), catalogue["uri"].to_pylist(), strict=True)
    return all(rows[clip] == digest_of(read(uri)).tolist() for clip, uri in uris)


def folder(root, tier):
    return root.read_json("artifacts", "tiers.json")[tier]["folder"]


def write_listed(root, source, dataset="folder", by="fast"):
    table = list_clips(root, dataset, str(source), limit=None, seed=0).table
    return write_catalogue(root, table, 0, origin=DatasetOrigin((str(source),), by=by))


def fill(where, count, seed=0, sizes=(3, 400)):
    """Files of random bytes."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        path = where / f"{k % 7}" / f"{k:04d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.bytes(int(rng.integers(*sizes))))


def write_scored(root, tmp_path, count=12):
    """Write a catalogue of the files that `fill` makes in `v`, two thirds of them to train on."""
    rows = [
        Clip(f"{k:02d}", f"{tmp_path}/v/{k % 7}/{k:04d}.mp4", "train" if k < 8 else "val", k / count, ("x",))
        for k in range(count)
    ]
    return write_catalogue(root, catalogue_table(rows), 0)
