"""Device guard of a tier actor: asks whether its GPU may be used, and ends the process that its GPU failed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import ray

from m3ray.errors import LostDeviceError
from m3ray.pipelines.extraction.device_faults import DeviceFaultError
from m3ray.pipelines.extraction.device_ledger import Status
from m3ray.pipelines.runtime.assigned_gpus import assigned_gpus, describe_place, gpu_name

_POLL_SECONDS = 1.0
_EXIT_STATUS = 75  # EX_TEMPFAIL: another process may have more luck


class DeviceGuard:
    """Speaks with the ledger about the GPU of this process; `device_ledger` has the rules.

    A process on a banned GPU waits where it is made: Ray Data sends it no clips as long as its constructor runs.

    Args:
        ledger: Handle of a `crash_guard.Ledger` actor; None on a CPU, and without a ledger: all is well then.
    """

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger
        self.gpu = gpu_name() if ledger is not None else ""
        self._status: Status = "sound" if ledger is None else self._call("enter", self.gpu, _describe_gpu())
        self._fault: DeviceFaultError | None = None
        if self.is_banned_here:
            self._wait()

    @property
    def is_banned_here(self) -> bool:
        """Whether the job stopped using the GPU before this process had it."""
        return self._status == "banned"

    def _call(self, method: str, *args: Any) -> Any:
        return ray.get(self._ledger.call_part.remote("devices", method, *args))

    def _wait(self) -> None:
        while ray.get(self._ledger.advise_banned.remote()) == "wait":
            time.sleep(_POLL_SECONDS)

    def is_banned(self) -> bool:
        """Whether this process must not use its GPU any more.

        Raises:
            LostDeviceError: If the job has no other GPU either.
        """
        if self._ledger is None or not (self._status == "banned" or self._call("is_banned", self.gpu)):
            return False
        reason = self._call("stop_reason")
        if reason:
            raise LostDeviceError(reason)
        if self._status != "banned":
            # Banned while this process lived, by another one on the same GPU. Ray Data would send its next clips here,
            # where they come back soonest; the next process waits where it is made.
            os._exit(_EXIT_STATUS)
        return True

    def keep_fault(self, error: DeviceFaultError) -> None:
        """Keep what the GPU failed with while networks were loaded: Ray repeats a task, but no constructor, at will.

        Args:
            error: The fault, which `prove` raises.
        """
        self._fault = error

    def note_ready(self) -> None:
        """Tell the ledger that the networks are loaded."""
        if self._ledger is not None:
            self._ledger.call_part.remote("devices", "note_ready", self.gpu)

    def prove(self, compute_gray: Callable[[], object]) -> None:
        """Prove that the GPU computes, where a process before this one failed on it.

        Args:
            compute_gray: Computes gray frames; raises DeviceFaultError where the GPU fails.
        Raises:
            DeviceFaultError: If the GPU fails, which the ledger then knows: this process has to end.
        """
        if self._status != "suspect" and self._fault is None:
            return
        try:
            if self._fault is not None:
                raise self._fault
            compute_gray()
        except DeviceFaultError as error:
            if self._ledger is not None:
                ray.get(self._ledger.lose_device.remote(self.gpu, [], str(error)))
            raise
        self._status = "sound"

    def note_computed(self) -> None:
        """Tell the ledger, without waiting for it, that clips were computed."""
        if self._ledger is not None:
            self._ledger.call_part.remote("devices", "note_computed", self.gpu)

    def end_process(self, error: DeviceFaultError) -> None:
        """End this process, whose tasks Ray repeats in a new one.

        Args:
            error: The fault; raised where there is no ledger, and so no Ray.
        """
        if self._ledger is None:
            raise error
        os._exit(_EXIT_STATUS)


def _describe_gpu() -> str:
    """GPU and node, in words."""
    return f"GPU {','.join(assigned_gpus())} of {describe_place()}"
