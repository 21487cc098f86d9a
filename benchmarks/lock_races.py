"""Races for a root's lock in S3 whose PUTs arrive 0 to 10 s late: do two owners ever both commit?

    python benchmarks/lock_races.py --races 200 --at-once 50

Every race is three jobs of three machines that want one root of moto's S3, at the real pace of the lock. Every PUT, of
locks and of commits, is late by 0 to 10 s, drawn anew. In half of the races the first owner's heart stands still after
its first commit (as in a process that is cut off) while it goes on committing; a fourth job then waits for its death.
A commit is a check of the fence, then a PUT to the race's journal, whose order of arrival is what moto saw.
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
from faulty_s3 import patched_environment, s3_environment, s3_server
from late_s3 import Arrival, late_puts

from m3ray.errors import ConfigError, LostLockError, RootBusyError
from m3ray.storage.lock import Lock, locked
from m3ray.storage.owner import Place
from m3ray.storage.root import Root

BUCKET = "races"
LATEST = 10.0  # seconds
COMMITS = 3


@dataclass
class Race:
    """One race and what came of it.

    Args:
        number: of the race.
        stalls: whether the first owner's heart stands still.
        owned: token to when its owner began to work.
        refused: jobs that were told the root is in use.
        lost: owners that learnt that they had lost the lock.
        failed: jobs that the storage failed, in words.
    """

    number: int
    stalls: bool
    owned: dict[int, float] = field(default_factory=dict)
    refused: int = 0
    lost: int = 0
    failed: list[str] = field(default_factory=list)
    begun: threading.Event = field(default_factory=threading.Event)

    @property
    def root(self) -> Root:
        return Root(f"s3://{BUCKET}/{self.number}")


def run(race: Race, seed: int) -> None:
    """Three jobs start within three seconds; where the owner stalls, a fourth comes once it has committed."""
    rng = random.Random(seed + race.number)
    starts = [rng.uniform(0, 3) for _ in range(3)]
    jobs = [threading.Thread(target=start, args=(race, k, wait)) for k, wait in enumerate(starts)]
    for job in jobs:
        job.start()
    if race.stalls and race.begun.wait(120):
        last = threading.Thread(target=start, args=(race, 3, 0.0), kwargs={"persists": True})
        last.start()
        jobs.append(last)
    for job in jobs:
        job.join()


def start(race: Race, number: int, wait: float, *, persists: bool = False) -> None:
    """One job: waits its time, takes the lock and commits, or is refused (and comes again, if it persists)."""
    time.sleep(wait)
    try:
        with locked(race.root, f"job-{number}", me=Place("box", f"{race.number}-{number}", 7, "1")) as lock:
            race.owned[lock.fence.token] = time.monotonic()
            work(race, lock)
    except LostLockError:
        race.lost += 1
    except RootBusyError:
        race.refused += 1
        if persists:  # a last sign of the stalled owner was still on its way
            start(race, number, wait, persists=True)
    except (ConfigError, OSError) as error:
        race.failed.append(str(error))


def work(race: Race, lock: Lock) -> None:
    """Commits; the first owner of a race that stalls goes on until it is told to stop."""
    endless = race.stalls and lock.fence.token == 1
    for number in range(10_000 if endless else COMMITS):
        lock.fence.check()
        race.root.write_bytes(str(lock.fence.token).encode(), "journal", f"{lock.fence.token}-{number}")
        if endless:
            lock._stop.set()
        race.begun.set()


def violations(race: Race, arrivals: Sequence[Arrival]) -> int:
    """Commits that arrived after an owner with a larger token had begun to work."""
    prefix = f"{race.number}/journal/"
    commits = [(arrival.at, int(arrival.body)) for arrival in arrivals if arrival.key.startswith(prefix)]
    return sum(any(later > token and at > began for later, began in race.owned.items()) for at, token in commits)


def told(races: Sequence[Race], arrivals: Sequence[Arrival], seconds: float) -> int:
    """Prints what came of the races; returns how many had two owners that both committed."""
    broken = [race.number for race in races if violations(race, arrivals)]
    journal = [arrival for arrival in arrivals if "/journal/" in arrival.key]
    print(f"races {len(races)}, of which the first owner stalled in {sum(race.stalls for race in races)}")
    print(f"owners {sum(len(race.owned) for race in races)}, refused {sum(race.refused for race in races)}")
    print(f"owners that lost the lock and stopped {sum(race.lost for race in races)}")
    print(f"commits {len(journal)}, PUTs {len(arrivals)}, wall {seconds:.0f} s")
    failed = [words for race in races for words in race.failed]
    print(f"jobs that the storage failed {len(failed)}" + (f", first: {failed[0]}" if failed else ""))
    print(f"races without an owner {sum(not race.owned for race in races)}")
    print(f"races with two owners that both committed: {len(broken)}" + (f" {broken}" if broken else ""))
    return len(broken)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    # A commit that waits for one of pyarrow's eight threads would be later than its 10 s.
    pa.set_io_thread_count(2 * given.at_once)
    races = [Race(number, stalls=number % 2 == 1) for number in range(given.races)]
    began, rng = time.monotonic(), random.Random(given.seed)
    with (
        s3_server() as endpoint,
        patched_environment(s3_environment(endpoint)),
        late_puts(lambda _: rng.uniform(0, LATEST)) as arrivals,
    ):
        urlrequest.urlopen(urlrequest.Request(f"{endpoint}/{BUCKET}", method="PUT"))
        with ThreadPoolExecutor(given.at_once) as pool:
            list(pool.map(lambda race: run(race, given.seed), races))
        return int(told(races, arrivals, time.monotonic() - began) > 0)


if __name__ == "__main__":
    raise SystemExit(main())
