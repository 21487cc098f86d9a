"""moto's S3 whose PUTs arrive late, each decided in one step as S3's are."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Arrival:
    """A PUT that took effect: when (`time.monotonic()`), its key and body."""

    at: float
    key: str
    body: bytes


@contextlib.contextmanager
def late_puts(delay: Callable[[str], float]) -> Iterator[list[Arrival]]:
    """Every PUT of an object takes effect `delay(key)` seconds after it was sent; the list says which did.

    moto looks at If-Match and If-None-Match in one step and writes in another, with other requests in between: a lock
    makes them one, which is what S3 promises. It is held while an object is written, not while it is late.
    """
    from moto.s3.responses import S3Response

    arrivals: list[Arrival] = []
    turn = threading.Lock()
    put = S3Response.put_object

    def put_late(self: Any) -> Any:
        key = self.parse_key_name()
        time.sleep(delay(key))
        with turn:
            answer = put(self)
            arrivals.append(Arrival(time.monotonic(), key, self.body or b""))
        return answer

    S3Response.put_object = put_late  # type: ignore[method-assign]
    try:
        yield arrivals
    finally:
        S3Response.put_object = put  # type: ignore[method-assign]
