"""The decoding stage: catalogue rows to frames, in tasks on CPUs."""

from __future__ import annotations

import atexit
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from m3ray.config import DecodeConfig, DecoderName, LimitsConfig
from m3ray.errors import DecodeError
from m3ray.pipelines.extraction.crash_guard import Guard
from m3ray.pipelines.extraction.patience import patience
from m3ray.pipelines.extraction.records import Decoded, crashed, decoded_table, failure_of, work_rows
from m3ray.pipelines.extraction.versions import check_worker
from m3ray.pipelines.runtime.worker_entry import enter_worker
from m3ray.storage.filesystems import is_local
from m3ray.storage.versions import software
from m3ray.video.sandbox import Decoder

_MOST_TRAVELLING = 64 << 20  # bytes of a clip: two windows and a half of frames


class DecodeStage:
    """Turns a batch of clips into their frames, one table a clip, so that memory holds one at a time.

    Args:
        config: rate, size and window.
        limits: what a clip may cost.
        first_frame_only: no more than the first frame of each.
        first_frame_tiers: names of tiers that look no further: a clip that lacks just these is not decoded on.
        decoder: which one reads.
        ledger: of `strikes`; None: a clip that kills the process is repeated for ever, and each process finds out by
            itself whether the storage answers.
    """

    def __init__(
        self,
        config: DecodeConfig,
        limits: LimitsConfig,
        *,
        first_frame_only: bool = False,
        first_frame_tiers: Collection[str] = (),
        decoder: DecoderName = "auto",
        ledger: Any = None,
    ) -> None:
        self.config = config
        self.limits = limits
        self.first_frame_only = first_frame_only
        self.first_frame_tiers = frozenset(first_frame_tiers)
        self.decoder = decoder
        self.guard: Guard[Decoded, Decoded] = Guard(ledger, "decode", limits.strikes, _given_up)
        self.patience = patience(limits, ledger)
        self.software = software()  # of the job: a stage is made there, and travels

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        enter_worker()
        check_worker(self.software)
        decoder = shared_decoder(self.config, self.limits, self.decoder)
        for row in work_rows(batch):
            yield decoded_table(self.guard.results([row], lambda rows: [self._decode(decoder, *rows)]))

    def _decode(self, decoder: Decoder, row: Decoded) -> Decoded:
        start = time.perf_counter()
        facts, frames, failure, video = None, None, None, None
        try:
            data = self.patience.read(row.uri, self.limits.max_bytes)
            if self._looks_at_first_frame(row):
                ((facts, frames),) = decoder.windows(data, extent="first_frame")
            else:  # longer than a window, a clip's frames are too many to travel: the tier actor decodes it
                facts, frames = decoder.one_window(data)
                video = _travelling(row.uri, data) if frames is None else None
        except DecodeError as error:
            failure = failure_of(error, error.stage)
        seconds = time.perf_counter() - start
        return replace(row, facts=facts, frames=frames, failure=failure, seconds=seconds, video=video)

    def _looks_at_first_frame(self, row: Decoded) -> bool:
        return self.first_frame_only or (bool(row.tiers) and self.first_frame_tiers.issuperset(row.tiers))


def _travelling(uri: str, data: bytes) -> np.ndarray | None:
    """The bytes of a clip that go with it, rather than be fetched a second time; None where that costs more."""
    return None if is_local(uri) or len(data) > _MOST_TRAVELLING else np.frombuffer(data, np.uint8)


def _given_up(row: Decoded, strikes: int) -> Decoded:
    return replace(row, failure=crashed("decode", strikes))


@cache
def shared_decoder(config: DecodeConfig, limits: LimitsConfig, decoder: DecoderName = "auto") -> Decoder:
    """One child a worker process: starting it costs more than decoding a clip."""
    shared = Decoder(config, limits, decoder)
    atexit.register(shared.close)
    return shared
