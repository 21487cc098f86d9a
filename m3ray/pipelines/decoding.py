"""The decoding stage: catalogue rows to frames, in tasks on CPUs."""

from __future__ import annotations

import atexit
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pyarrow as pa

from m3ray.config import DecodeConfig, DecoderName, LimitsConfig
from m3ray.data.reading import read_video
from m3ray.data.sandbox import Decoder
from m3ray.errors import DecodeError
from m3ray.pipelines.rows import Decoded, crashed, decoded_table, failure_of, work_rows
from m3ray.pipelines.strikes import Guard


class DecodeStage:
    """Turns a batch of clips into their frames, one table a clip, so that memory holds one at a time.

    Args:
        config: rate, size and window.
        limits: what a clip may cost.
        first_frame_only: no more than the first frame of each.
        decoder: which one reads.
        ledger: of `strikes`; None: a clip that kills the process is repeated for ever.
    """

    def __init__(
        self,
        config: DecodeConfig,
        limits: LimitsConfig,
        *,
        first_frame_only: bool = False,
        decoder: DecoderName = "auto",
        ledger: Any = None,
    ) -> None:
        self.config = config
        self.limits = limits
        self.first_frame_only = first_frame_only
        self.decoder = decoder
        self.guard: Guard[Decoded, Decoded] = Guard(ledger, "decode", limits.strikes, _given_up)

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        decoder = shared_decoder(self.config, self.limits, self.decoder)
        for row in work_rows(batch):
            yield decoded_table(self.guard.results([row], lambda rows: [self._decode(decoder, *rows)]))

    def _decode(self, decoder: Decoder, row: Decoded) -> Decoded:
        start = time.perf_counter()
        facts, frames, failure = None, None, None
        try:
            data = read_video(row.uri, self.limits.max_bytes)
            if self.first_frame_only:
                ((facts, frames),) = decoder.windows(data, extent="first_frame")
            else:  # longer than a window, a clip is too large to travel whole: the tier actor reads it
                facts, frames = decoder.one_window(data)
        except DecodeError as error:
            failure = failure_of(error, error.stage)
        seconds = time.perf_counter() - start
        return Decoded(row.clip_id, row.uri, row.tiers, facts, frames, failure, seconds)


def _given_up(row: Decoded, strikes: int) -> Decoded:
    return replace(row, failure=crashed("decode", strikes))


@cache
def shared_decoder(config: DecodeConfig, limits: LimitsConfig, decoder: DecoderName = "auto") -> Decoder:
    """One child a worker process: starting it costs more than decoding a clip."""
    shared = Decoder(config, limits, decoder)
    atexit.register(shared.close)
    return shared
