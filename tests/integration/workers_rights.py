"""Jobs whose workers reach S3 by another way than their driver: run as a driver by test_preflight_from_workers.

Each has its own proxy before one moto, which answers as a case says. Prints what became of each case as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import ray
from drawn import pictures
from faulty_s3 import _proxy, s3_environment, s3_server, upload

from m3ray.config import StorageConfig
from m3ray.config.options import ExtractOptions
from m3ray.console import LineKeeper
from m3ray.errors import M3RayError
from m3ray.pipelines import jobs
from m3ray.pipelines.extraction import preflight
from m3ray.storage.root import Root
from m3ray.storage.tier_index import rejected_ids
from m3ray.video.encode import encode_clip

Choose = Callable[[str, str], str | None]
CLIPS = 6
chosen: dict[str, Choose] = {}
headers: list[tuple[int, str, str | None]] = []


def main(folder: Path) -> None:
    record_headers()
    with (
        s3_server() as server,
        _proxy(server, lambda *asked: chosen["driver"](*asked), []) as drivers,
        _proxy(server, lambda *asked: chosen["workers"](*asked), []) as workers,
    ):
        os.environ |= s3_environment(drivers)
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=1 << 29,
            log_to_driver=False,
            runtime_env={"env_vars": s3_environment(workers)},
        )
        forgive()
        write_clips(folder)
        port = int(workers.rpartition(":")[2])
        for name, case in CASES.items():
            forgive()
            del headers[:]
            began = time.monotonic()
            facts = case(f"s3://roots/{name}", str(folder / "t.csv"), port)
            print("FACTS " + json.dumps({"case": name, "seconds": time.monotonic() - began, **facts}), flush=True)
        ray.shutdown()


def record_headers() -> None:
    parse = BaseHTTPRequestHandler.parse_request

    def recording(self: Any) -> bool:
        parsed = parse(self)
        payer = self.headers.get("x-amz-request-payer") if parsed else None
        headers.append((self.server.server_port, f"{self.command} {self.path}", payer))
        return parsed

    BaseHTTPRequestHandler.parse_request = recording  # type: ignore[method-assign]


def forgive() -> None:
    chosen.update(driver=lambda *_: None, workers=lambda *_: None)


def write_clips(folder: Path) -> None:
    (folder / "v").mkdir(parents=True)
    for k in range(CLIPS):
        (folder / "v" / f"{k}.mp4").write_bytes(encode_clip(pictures(4 + k), 10))
    upload(folder / "v", "s3://videos/v")
    upload(folder / "none", "s3://roots/none")
    (folder / "t.csv").write_text("uri\n" + "".join(f"s3://videos/v/{k}.mp4\n" for k in range(CLIPS)))


def ran(out: str, table: str, **options: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"error": None, "status": 0}
    with LineKeeper() as said:
        try:
            jobs.extract(ExtractOptions(out=out, dataset="table", root=table, tiers=("raw",), fps=2, **options))
        except M3RayError as error:
            facts = {"error": str(error), "status": error.exit_status}
    root = Root(out)
    rejected = len(rejected_ids(root)) if root.exists("rejects") else 0
    left = [name for name in root.names("runs") if name.startswith("write-test")]
    hog = root.exists("artifacts", "hog_pca.json")
    lines = [line.partition(" ")[2] for line in said.lines]  # after its time
    return {**facts, "said": lines, "rejected": rejected, "hog": hog, "left": left}


def refusing(method: str, part: str) -> Choose:
    return lambda asked, path: "403" if asked == method and part in path else None


def no_reading(out: str, table: str, port: int) -> dict[str, Any]:
    chosen["workers"] = refusing("GET", "/videos/")
    return ran(out, table)


def no_writing(out: str, table: str, port: int) -> dict[str, Any]:
    chosen["workers"] = refusing("PUT", "write-test")
    return ran(out, table)


def no_deleting(out: str, table: str, port: int) -> dict[str, Any]:
    chosen["workers"] = refusing("DELETE", "write-test")
    return ran(out, table)


def one_clip_refused(out: str, table: str, port: int) -> dict[str, Any]:
    """S3 calls a missing object forbidden where the bucket may not be listed."""
    chosen["workers"] = refusing("GET", "/videos/v/0.mp4")
    return ran(out, table)


def driver_cannot_read(out: str, table: str, port: int) -> dict[str, Any]:
    chosen["driver"] = refusing("GET", "/videos/v/")
    return ran(out, table)


def later_node(out: str, table: str, port: int) -> dict[str, Any]:
    """No node was there when the job began."""
    working, preflight.working_nodes = preflight.working_nodes, lambda _: []
    chosen["workers"] = refusing("GET", "/videos/")
    try:
        return ran(out, table)
    finally:
        preflight.working_nodes = working


def requester_pays(out: str, table: str, port: int) -> dict[str, Any]:
    found = ran(out, table, storage=StorageConfig(requester_pays=("videos",)))
    asked = [(line, payer) for there, line, payer in headers if there == port and "/videos/" in line]
    roots = [payer for there, line, payer in headers if there == port and "/roots/" in line]
    return {**found, "videos": asked, "roots": roots}


CASES = {
    case.__name__: case
    for case in (
        no_reading,
        no_writing,
        no_deleting,
        later_node,
        one_clip_refused,
        driver_cannot_read,
        requester_pays,
    )
}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
