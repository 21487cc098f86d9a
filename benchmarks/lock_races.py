"""Lock races: check that two owners of a root never both commit, in an S3 whose PUTs arrive 0 to 10 s late.

    python benchmarks/lock_races.py --races 200 --at-once 50

Every race is three jobs of three machines that want one root of moto's S3, at the real pace of the lock. Every PUT, of
locks and of commits, is late by 0 to 10 s, drawn anew. In half of the races the first owner's heartbeat stops after
its first commit (as in a process that is cut off) while it goes on committing; a fourth job then waits for its death.
A commit is a check of the fence, then a PUT to the race's journal, whose order of arrival is the one that moto saw.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib import request as urlrequest

import pyarrow as pa
from faulty_s3 import patch_environment, s3_environment, s3_server
from late_s3 import Arrival, late_puts

from m3ray.errors import ConfigError, LostLockError, RootBusyError
from m3ray.storage.lock import Lock, hold_lock
from m3ray.storage.lock_owner import ProcessIdentity
from m3ray.storage.root import Root

BUCKET = "races"
LATEST = 10.0  # seconds
COMMITS = 3


@dataclass
class Race:
    """A race and its outcome.

    Args:
        number: Number of the race.
        is_stalling: Whether the first owner's heartbeat stops.
        owners: Fence token to the time at which its owner began to work.
        rejected: Number of jobs that were rejected because the root is in use.
        lost_locks: Number of owners that noticed that they had lost the lock.
        failures: Messages of the jobs that the storage failed.
        has_committed: Set once an owner has committed.
    """

    number: int
    is_stalling: bool
    owners: dict[int, float] = field(default_factory=dict)
    rejected: int = 0
    lost_locks: int = 0
    failures: list[str] = field(default_factory=list)
    has_committed: threading.Event = field(default_factory=threading.Event)

    @property
    def root(self) -> Root:
        return Root(f"s3://{BUCKET}/{self.number}")


def run_race(race: Race, seed: int) -> None:
    """Start three jobs within three seconds; if the owner stalls, a fourth once it has committed."""
    rng = random.Random(seed + race.number)
    starts = [rng.uniform(0, 3) for _ in range(3)]
    jobs = [threading.Thread(target=run_job, args=(race, k, wait)) for k, wait in enumerate(starts)]
    for job in jobs:
        job.start()
    if race.is_stalling and race.has_committed.wait(120):
        last = threading.Thread(target=run_job, args=(race, 3, 0.0), kwargs={"is_persistent": True})
        last.start()
        jobs.append(last)
    for job in jobs:
        job.join()


def run_job(race: Race, number: int, wait: float, *, is_persistent: bool = False) -> None:
    """Wait, take the lock and commit, or be rejected (and try again, if persistent)."""
    time.sleep(wait)
    try:
        with hold_lock(
            race.root, f"job-{number}", me=ProcessIdentity("box", f"{race.number}-{number}", 7, "1")
        ) as lock:
            race.owners[lock.fence.token] = time.monotonic()
            commit(race, lock)
    except LostLockError:
        race.lost_locks += 1
    except RootBusyError:
        race.rejected += 1
        if is_persistent:  # a last sign of the stalled owner was still on its way
            run_job(race, number, wait, is_persistent=True)
    except (ConfigError, OSError) as error:
        race.failures.append(str(error))


def commit(race: Race, lock: Lock) -> None:
    """Commit; the first owner of a stalling race goes on until its fence stops it."""
    endless = race.is_stalling and lock.fence.token == 1
    for number in range(10_000 if endless else COMMITS):
        lock.fence.check()
        race.root.write_bytes(str(lock.fence.token).encode(), "journal", f"{lock.fence.token}-{number}")
        if endless:
            lock._stop.set()
        race.has_committed.set()


def count_violations(race: Race, arrivals: Sequence[Arrival]) -> int:
    """Count the commits that arrived after an owner with a larger token had begun to work."""
    prefix = f"{race.number}/journal/"
    commits = [(arrival.at, int(arrival.body)) for arrival in arrivals if arrival.key.startswith(prefix)]
    return sum(any(later > token and at > began for later, began in race.owners.items()) for at, token in commits)


def print_results(races: Sequence[Race], arrivals: Sequence[Arrival], seconds: float) -> int:
    """Print the outcome of the races; the number of those with two owners that both committed."""
    broken = [race.number for race in races if count_violations(race, arrivals)]
    journal = [arrival for arrival in arrivals if "/journal/" in arrival.key]
    print(f"races {len(races)}, of which the first owner stalled in {sum(race.is_stalling for race in races)}")
    print(f"owners {sum(len(race.owners) for race in races)}, rejected {sum(race.rejected for race in races)}")
    print(f"owners that lost the lock and stopped {sum(race.lost_locks for race in races)}")
    print(f"commits {len(journal)}, PUTs {len(arrivals)}, wall {seconds:.0f} s")
    failures = [message for race in races for message in race.failures]
    print(f"jobs that the storage failed {len(failures)}" + (f", first: {failures[0]}" if failures else ""))
    print(f"races without an owner {sum(not race.owners for race in races)}")
    print(f"races with two owners that both committed: {len(broken)}" + (f" {broken}" if broken else ""))
    return len(broken)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    # A commit that waits for one of pyarrow's eight threads would be later than its 10 s.
    pa.set_io_thread_count(2 * args.at_once)
    races = [Race(number, is_stalling=number % 2 == 1) for number in range(args.races)]
    began, rng = time.monotonic(), random.Random(args.seed)
    with (
        s3_server() as endpoint,
        patch_environment(s3_environment(endpoint)),
        late_puts(lambda _: rng.uniform(0, LATEST)) as arrivals,
    ):
        urlrequest.urlopen(urlrequest.Request(f"{endpoint}/{BUCKET}", method="PUT"))
        with ThreadPoolExecutor(args.at_once) as pool:
            list(pool.map(lambda race: run_race(race, args.seed), races))
        return int(print_results(races, arrivals, time.monotonic() - began) > 0)


if __name__ == "__main__":
    raise SystemExit(main())
