"""Checks of what lies elsewhere: published weights, the network, and a Ray cluster."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

from m3ray.commands.findings import Finding, describe_error
from m3ray.config.presets import PUBLISHED

_SECONDS = 3.0


class Reaching:
    """Tries addresses at once, in the background: a name server that does not answer may hold a call for long.

    Args:
        addresses: what is tried.
    """

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._answers: dict[str, str | None] = {}
        self._threads = [
            threading.Thread(target=self._try, args=(address,), daemon=True) for address in dict.fromkeys(addresses)
        ]
        for thread in self._threads:
            thread.start()

    def find_failure(self, address: str) -> str | None:
        """Wait for an answer.

        Args:
            address: one of the addresses.
        Returns:
            Why it cannot be reached; None: it can.
        """
        for thread in self._threads:
            thread.join(_SECONDS)
        return self._answers.get(address, f"no answer within {_SECONDS:.0f} s")

    def _try(self, address: str) -> None:
        # Nothing of ours goes along: no name, no key.
        request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "m3ray"})
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS):
                self._answers[address] = None
        except urllib.error.HTTPError as error:
            self._answers[address] = f"HTTP {error.code}"
        except Exception as error:
            self._answers[address] = describe_error(getattr(error, "reason", error) or error)


def start_reaching() -> Reaching:
    """Begin to try the addresses of published weights."""
    return Reaching(tuple(PUBLISHED.values()))


def check_weights(reaching: Reaching | None) -> Iterator[Finding]:
    """Check which published weights are cached, and which could be downloaded.

    Args:
        reaching: answers of their addresses; None: they are not tried.
    Yields:
        A finding a file.
    """
    from m3ray.tiers.backbones.weights import cache_path

    for name, address in PUBLISHED.items():
        label = f"weights: {name}"
        if cache_path(address).exists():
            yield Finding(label, "ok", f"cached: {cache_path(address)}")
            continue
        failure = "not tried" if reaching is None else reaching.find_failure(address)
        if failure is None:
            yield Finding(label, "ok", "not cached yet; the address answers, and the first job downloads it")
            continue
        mend = "use a machine with a network, or --weights FILE.json with files of yours; m3ray score needs none"
        yield Finding(label, "warning", f"not cached; {address}: {failure}", mend if reaching else "")


def check_ray_address() -> Iterator[Finding]:
    """Check that a cluster answers where RAY_ADDRESS points."""
    from m3ray.errors import ClusterError
    from m3ray.pipelines.runtime.address import check_address, read_address

    address = read_address()
    if address is None:
        yield Finding("Ray cluster", "ok", "RAY_ADDRESS is not set: a job starts a Ray of its own")
        return
    try:
        check_address(address)
    except ClusterError as error:
        yield Finding("Ray cluster", "warning", str(error), "unset RAY_ADDRESS to work on this machine")
        return
    yield Finding("Ray cluster", "ok", "answers where RAY_ADDRESS points")
