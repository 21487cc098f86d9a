"""Jobs whose workers reach S3 through another proxy than their driver; run by test_preflight_from_workers.

Driver and workers have a proxy each before one moto, which answers as the case says. Prints each result as JSON.
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
from faulty_s3 import run_proxy, s3_environment, s3_server, upload

from m3ray.config import StorageConfig
from m3ray.config.options import ExtractOptions
from m3ray.console import LineKeeper
from m3ray.errors import M3RayError
from m3ray.pipelines import jobs
from m3ray.pipelines.extraction import preflight
from m3ray.pipelines.runtime.cluster import start_patiently
from m3ray.storage.rejects import read_rejected_ids
from m3ray.storage.root import Root
from m3ray.video.encode import encode_clip

Choose = Callable[[str, str], str | None]
CLIPS = 6
chosen: dict[str, Choose] = {}
headers: list[tuple[int, str, str | None]] = []


def main(folder: Path) -> None:
    record_headers()
    with (
        s3_server() as server,
        run_proxy(server, driver_fault, []) as drivers,
        run_proxy(server, worker_fault, []) as workers,
    ):
        os.environ |= s3_environment(drivers)
        environment = {"env_vars": s3_environment(workers)}
        options = {"include_dashboard": False, "object_store_memory": 1 << 29, "log_to_driver": False}
        start_patiently(lambda: ray.init(address="local", num_cpus=2, runtime_env=environment, **options))
        allow_all()
        write_clips(folder)
        port = int(workers.rpartition(":")[2])
        for name, case in CASES.items():
            allow_all()
            del headers[:]
            start = time.monotonic()
            result = case(f"s3://roots/{name}", str(folder / "t.csv"), port)
            print("RESULT " + json.dumps({"case": name, "seconds": time.monotonic() - start, **result}), flush=True)
        ray.shutdown()


def driver_fault(method: str, path: str) -> str | None:
    return chosen["driver"](method, path)


def worker_fault(method: str, path: str) -> str | None:
    return chosen["workers"](method, path)


def record_headers() -> None:
    parse = BaseHTTPRequestHandler.parse_request

    def recording(self: Any) -> bool:
        parsed = parse(self)
        payer = self.headers.get("x-amz-request-payer") if parsed else None
        headers.append((self.server.server_port, f"{self.command} {self.path}", payer))
        return parsed

    BaseHTTPRequestHandler.parse_request = recording  # type: ignore[method-assign]


def allow_all() -> None:
    chosen.update(driver=lambda *_: None, workers=lambda *_: None)


def write_clips(folder: Path) -> None:
    (folder / "v").mkdir(parents=True)
    for k in range(CLIPS):
        (folder / "v" / f"{k}.mp4").write_bytes(encode_clip(pictures(4 + k), 10))
    upload(folder / "v", "s3://videos/v")
    upload(folder / "none", "s3://roots/none")
    (folder / "t.csv").write_text("uri\n" + "".join(f"s3://videos/v/{k}.mp4\n" for k in range(CLIPS)))


def extract(out: str, table: str, **options: Any) -> dict[str, Any]:
    result: dict[str, Any] = {"error": None, "status": 0}
    with LineKeeper() as log:
        try:
            jobs.extract(ExtractOptions(out=out, dataset="table", root=table, tiers=("raw",), fps=2, **options))
        except M3RayError as error:
            result = {"error": str(error), "status": error.exit_status}
    root = Root(out)
    rejected = len(read_rejected_ids(root)) if root.exists("rejects") else 0
    left = [name for name in root.list_names("runs") if name.startswith("write-test")]
    hog = root.exists("artifacts", "hog_pca.json")
    lines = [line.partition(" ")[2] for line in log.lines]  # after its time
    return {**result, "log": lines, "rejected": rejected, "hog": hog, "left": left}


def deny(method: str, part: str) -> Choose:
    return lambda command, path: "403" if command == method and part in path else None


def no_reading(out: str, table: str, port: int) -> dict[str, Any]:
    chosen["workers"] = deny("GET", "/videos/")
    return extract(out, table)


def no_writing(out: str, table: str, port: int) -> dict[str, Any]:
    chosen["workers"] = deny("PUT", "write-test")
    return extract(out, table)


def no_deleting(out: str, table: str, port: int) -> dict[str, Any]:
    chosen["workers"] = deny("DELETE", "write-test")
    return extract(out, table)


def one_clip_denied(out: str, table: str, port: int) -> dict[str, Any]:
    """S3 calls a missing object forbidden where the bucket may not be listed."""
    chosen["workers"] = deny("GET", "/videos/v/0.mp4")
    return extract(out, table)


def driver_cannot_read(out: str, table: str, port: int) -> dict[str, Any]:
    chosen["driver"] = deny("GET", "/videos/v/")
    return extract(out, table)


def later_node(out: str, table: str, port: int) -> dict[str, Any]:
    """Run a job that saw no node when it began."""
    listed, preflight.list_usable_nodes = preflight.list_usable_nodes, lambda _: []
    chosen["workers"] = deny("GET", "/videos/")
    try:
        return extract(out, table)
    finally:
        preflight.list_usable_nodes = listed


def requester_pays(out: str, table: str, port: int) -> dict[str, Any]:
    result = extract(out, table, storage=StorageConfig(requester_pays=("videos",)))
    videos = [(line, payer) for number, line, payer in headers if number == port and "/videos/" in line]
    roots = [payer for number, line, payer in headers if number == port and "/roots/" in line]
    return {**result, "videos": videos, "roots": roots}


CASES = {
    case.__name__: case
    for case in (
        no_reading,
        no_writing,
        no_deleting,
        later_node,
        one_clip_denied,
        driver_cannot_read,
        requester_pays,
    )
}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
