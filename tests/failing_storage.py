"""Clips on moto's S3 and retries with a clock of their own, for tests of a storage that fails."""

import os
from urllib import request

import obstore
import pyarrow as pa
from drawn import pictures

from m3ray.config import LimitsConfig
from m3ray.pipelines.extraction.circuit_breaker import CircuitBreaker
from m3ray.pipelines.extraction.records import WORK
from m3ray.pipelines.extraction.storage_retries import StorageRetry
from m3ray.storage.object_store import open_store
from m3ray.video.encode import encode_clip

LIMITS = LimitsConfig(storage_seconds=60)


class SleepClock:
    """Time that passes by sleeping alone."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def make_retry(clock, seconds=60.0, **options):
    """Retries that sleep on a `SleepClock`; the options are those of `CircuitBreaker`."""
    return StorageRetry(CircuitBreaker(seconds, clock=clock, **options), sleep=clock.sleep)


def upload_clips(count, missing=()):
    """Put short clips at s3://clips/00.mp4 and so on, those of the numbers `missing` left out."""
    data = encode_clip(pictures(4), 10)
    request.urlopen(request.Request(f"{os.environ['AWS_ENDPOINT_URL']}/clips", method="PUT"))
    store, _ = open_store("s3://clips/x")
    for k in range(count):
        obstore.put(store, f"{k:02d}.mp4", data)
        if k in missing:  # moto keeps what another test put
            obstore.delete(store, f"{k:02d}.mp4")


def make_work(count, tiers=("mean",)):
    """Work for the tier `mean` of the clips that `upload_clips` puts."""
    rows = [{"clip_id": f"{k:02d}", "uri": f"s3://clips/{k:02d}.mp4", "tiers": list(tiers)} for k in range(count)]
    return pa.Table.from_pylist(rows, schema=WORK)


def fail_reads(choose):
    """For `scripted_s3`: the answer to each GET, from its path; others get through."""
    return lambda method, path: choose(path) if method == "GET" else None
