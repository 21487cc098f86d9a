"""Whose lock it is, and its removal: of a dead owner's, or by force."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from m3ray.errors import ConfigError, RootBusyError
from m3ray.storage.conditional_file import ConditionalFile, Version, conditional_file
from m3ray.storage.fence import PACE, Pace
from m3ray.storage.filesystems import one_line
from m3ray.storage.lock import WORKS, is_dead_here, lock_uri, put
from m3ray.storage.lock_waiting import Tell, Watch, older_lease, older_owner, older_runs, older_uri
from m3ray.storage.object_store import ChangedError
from m3ray.storage.owner import Owner, Place, here
from m3ray.storage.root import Root

_TRIES = 20
# Of a dry run: by whether the owner is dead, None where only its signs can tell.
_WOULD = {
    True: "its lock would be removed",
    False: "its process runs: its lock would stay, but for --force",
    None: "it is elsewhere: its lock would be removed after a while without a sign",
}


def unlock(
    root: Root,
    works: Sequence[str] = WORKS,
    *,
    force: bool,
    tell: Tell,
    dry: bool = False,
    me: Place | None = None,
    pace: Pace = PACE,
) -> None:
    """Says whose each lock is, and gives back those of dead owners; with `force`, of living ones too.

    The file stays, marked as given back: tokens never go back.

    Args:
        root: whose locks.
        works: folders of work.
        force: an owner that lives stops at its next commit.
        tell: takes the lines.
        dry: says whose they are, and leaves them.
        me: this process.
        pace: of the lock.
    Raises:
        RootBusyError: an owner lives, and `force` is not given.
        ConfigError: the locks cannot be read or written.
    """
    try:
        found = [_unlock(root, work, force, tell, me or here(), pace, dry) for work in works]
        if not any((*found, _unlock_older(root, force, tell, pace, dry))):
            tell(f"no lock is held in {root.uri}")
    except OSError as error:
        raise ConfigError(
            f"cannot reach the locks of {root.uri} ({one_line(error)}): check the name, the rights and the network"
        ) from error


def described(owner: Owner) -> str:
    """Whose a lock is, in a line."""
    ago = time.time() - owner.sign
    return (
        f"held by {owner}, since {_stamp(owner.since)}, last sign {_stamp(owner.sign)} "
        f"({ago:.0f} s ago by this machine's clock), token {owner.token}"
    )


def _unlock(root: Root, work: str, force: bool, tell: Tell, me: Place, pace: Pace, dry: bool) -> bool:
    file = conditional_file(lock_uri(root, work))
    seen = file.read()
    owner = Owner.from_bytes(seen.data) if seen else None
    if seen is None or owner is None or owner.released:
        return False
    dead = is_dead_here(owner, me)
    tell(f"{work}: {described(owner)}" + (f"; {_WOULD[True if force else dead]}" if dry else ""))
    if dry:
        return True
    if force:
        _give_back_by_force(file)
    elif dead:
        _give_back(file, seen, owner, owner.settled)
    elif dead is False:
        raise _alive(owner)
    elif not _dies(Watch(root, file, pace.lease, 0.0, pace, tell, then="removed"), seen, owner):
        tell(f"{work}: given back by {owner}")
        return True
    else:
        # Its processes may be writing still: who takes the lock next waits for them.
        _give_back(file, seen, owner, settled=False)
    tell(f"{work}: removed the lock of {owner}" + (": should it live, it stops at its next commit" if force else ""))
    return True


def _dies(watch: Watch, seen: Version, owner: Owner) -> bool:
    """Whether the owner gives no sign for a lease; False: it gave the lock back."""
    try:
        return watch.falls_silent(seen, owner)
    except RootBusyError as error:
        raise _alive(owner) from error


def _alive(owner: Owner) -> RootBusyError:
    return RootBusyError(
        f"{owner} is alive: stop it, or wait for it; --force removes its lock all the same, and it stops at its "
        "next commit"
    )


def _give_back(file: ConditionalFile, seen: Version, owner: Owner, settled: bool) -> None:
    try:
        put(file, replace(owner, released=True, settled=settled), seen.tag)
    except ChangedError as error:
        raise _alive(owner) from error


def _give_back_by_force(file: ConditionalFile) -> None:
    """Whatever stands there, however often it is renewed meanwhile."""
    for _ in range(_TRIES):
        seen = file.read()
        owner = Owner.from_bytes(seen.data) if seen else None
        if seen is None or owner is None or owner.released:
            return
        try:
            put(file, replace(owner, released=True, settled=False), seen.tag)
            return
        except ChangedError:
            continue
    raise RootBusyError("the lock changes whenever it is looked at: stop its job, then try again")


def _unlock_older(root: Root, force: bool, tell: Tell, pace: Pace, dry: bool) -> bool:
    file = conditional_file(older_uri(root))
    seen = file.read()
    if seen is None:
        return False
    owner = older_owner(seen)
    tell(f"{older_uri(root)}, of an older version: {described(owner)}")
    if dry:
        return True
    if not force:
        if older_runs(owner):
            raise _alive(owner)
        watch = Watch(root, file, older_lease(pace), 0.0, pace, tell, then="removed")
        if not _dies(watch, seen, owner):
            tell(f"given back by {owner}")
            return True
    root.delete("runs", "lock.json")
    tell(f"removed the lock of {owner}")
    return True


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
