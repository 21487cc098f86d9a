"""Plans of two clips, and rows of rejects that stand in their way."""

from types import SimpleNamespace

import pyarrow as pa

from m3ray.config import TierConfigs
from m3ray.pipelines.extraction.planning import plan
from m3ray.schema import REJECTS


def tier(name):
    return SimpleNamespace(name=name, whole_clip=True, untrained=False, identity=lambda: {"tier": name})


def reject(root, clip_id, stage):
    row = {"clip_id": clip_id, "uri": f"/{clip_id}", "stage": stage, "error": "damaged", "message": "words"}
    root.write_shard(pa.Table.from_pylist([row], schema=REJECTS), ("rejects",), {})


def make_plan(root, *names):
    clips = pa.table({"clip_id": ["a", "b"], "uri": ["/a", "/b"]})
    return plan(root, clips, [tier(name) for name in names], TierConfigs(), retry=False)
