"""Delayed writes: an S3 of moto whose PUTs arrive late, each decided in one step as S3's are."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Arrival:
    """A PUT that took effect.

    Args:
        at: Time of `time.monotonic()` at which it did, seconds.
        key: Key of the object.
        body: Bytes of the object.
    """

    at: float
    key: str
    body: bytes


@contextlib.contextmanager
def late_puts(delay: Callable[[str], float]) -> Iterator[list[Arrival]]:
    """Delay every PUT of an object by `delay(key)` seconds; the list says which took effect.

    Moto looks at If-Match and If-None-Match in one step and writes in another, with other requests in between: a lock
    makes them one, which is what S3 promises. It is held while an object is written, not while it is late.
    """
    from moto.s3.responses import S3Response

    arrivals: list[Arrival] = []
    lock = threading.Lock()
    put = S3Response.put_object

    def put_late(self: Any) -> Any:
        key = self.parse_key_name()
        time.sleep(delay(key))
        with lock:
            answer = put(self)
            arrivals.append(Arrival(time.monotonic(), key, self.body or b""))
        return answer

    S3Response.put_object = put_late  # type: ignore[method-assign]
    try:
        yield arrivals
    finally:
        S3Response.put_object = put  # type: ignore[method-assign]
