"""A training whose worker is given a GPU in name alone: run as a driver by test_train. Prints how it ended."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import ray

from m3ray.errors import LostDeviceError
from m3ray.pipelines.finetuning import train
from m3ray.pipelines.runtime.cluster import Resources, start_patiently
from m3ray.storage.root import Root


def main(folder: str) -> None:
    options: Any = {"include_dashboard": False, "object_store_memory": 100 << 20}
    start_patiently(lambda: ray.init(address="local", num_cpus=2, num_gpus=1, **options))
    work: Any = SimpleNamespace(layout=SimpleNamespace(workers=1), config=SimpleNamespace(keep=1))
    try:
        train.train_run(Root(folder), "run", work, {}, Resources(2, 1))
    except LostDeviceError as error:
        print(f"LostDeviceError: {error}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
