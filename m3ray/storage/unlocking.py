"""Removal of locks: those of dead owners, or any by force."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from m3ray.errors import ConfigError, RootBusyError
from m3ray.storage.conditional_file import ConditionalFile, Version, open_conditional_file
from m3ray.storage.fence import PACE, Pace
from m3ray.storage.filesystems import one_line
from m3ray.storage.lock import WORKS, is_dead_here, lock_uri, write_owner
from m3ray.storage.lock_owner import Owner, ProcessIdentity, this_process
from m3ray.storage.lock_waiting import (
    LockWatch,
    Tell,
    is_legacy_owner_running,
    legacy_lease,
    legacy_lock_uri,
    parse_legacy_owner,
)
from m3ray.storage.object_store import ChangedError
from m3ray.storage.root import Root

_MAX_TRIES = 20
# What a dry run says, by whether the owner is dead; None if its renewals alone can tell.
_PLANS = {
    True: "its lock would be removed",
    False: "its process runs: its lock would stay, but for --force",
    None: "it runs on another machine: its lock would be removed after a while without a renewal",
}


def unlock(
    root: Root,
    works: Sequence[str] = WORKS,
    *,
    force: bool,
    tell: Tell,
    dry: bool = False,
    me: ProcessIdentity | None = None,
    pace: Pace = PACE,
) -> None:
    """Say whose each lock is, and release those of dead owners; with `force`, those of living ones too.

    The file stays, marked as released, so that fencing tokens never decrease.

    Args:
        root: root whose locks are removed.
        works: what the locks protect, 'study' and 'predict'.
        force: whether to release the lock of an owner that lives, which then stops at its next commit.
        tell: called with each line to the user.
        dry: whether to say whose they are, and to leave them.
        me: process that removes them; None for this one.
        pace: how often locks are renewed.
    Raises:
        RootBusyError: If an owner lives, and `force` is not given.
        ConfigError: If the locks cannot be read or written.
    """
    try:
        removed = [_unlock(root, work, force, tell, me or this_process(), pace, dry) for work in works]
        if not any((*removed, _unlock_older(root, force, tell, pace, dry))):
            tell(f"no lock is held in {root.uri}")
    except OSError as error:
        raise ConfigError(
            f"cannot reach the locks of {root.uri} ({one_line(error)}): check the name, the rights and the network"
        ) from error


def describe_owner(owner: Owner) -> str:
    """Describe the owner of a lock in a line.

    Args:
        owner: owner of the lock.
    Returns:
        The line.
    """
    ago = time.time() - owner.sign
    return (
        f"held by {owner}, since {_format_time(owner.since)}, last renewal {_format_time(owner.sign)} "
        f"({ago:.0f} s ago by this machine's clock), token {owner.token}"
    )


def _unlock(root: Root, work: str, force: bool, tell: Tell, me: ProcessIdentity, pace: Pace, dry: bool) -> bool:
    file = open_conditional_file(lock_uri(root, work))
    seen = file.read()
    owner = Owner.from_bytes(seen.data) if seen else None
    if seen is None or owner is None or owner.released:
        return False
    dead = is_dead_here(owner, me)
    tell(f"{work}: {describe_owner(owner)}" + (f"; {_PLANS[True if force else dead]}" if dry else ""))
    if dry:
        return True
    if force:
        _release_by_force(file)
    elif dead:
        _release(file, seen, owner, owner.settled)
    elif dead is False:
        raise _alive_error(owner)
    elif not _falls_silent(LockWatch(root, file, pace.lease, 0.0, pace, tell, then="removed"), seen, owner):
        tell(f"{work}: released by {owner}")
        return True
    else:
        # Its processes may still be writing: who acquires the lock next waits for them.
        _release(file, seen, owner, settled=False)
    tell(f"{work}: removed the lock of {owner}" + (": should it live, it stops at its next commit" if force else ""))
    return True


def _falls_silent(watch: LockWatch, seen: Version, owner: Owner) -> bool:
    """Wait whether the owner goes a lease without a renewal; False if it released the lock."""
    try:
        return watch.wait_for_silence(seen, owner)
    except RootBusyError as error:
        raise _alive_error(owner) from error


def _alive_error(owner: Owner) -> RootBusyError:
    return RootBusyError(
        f"{owner} is alive: stop it, or wait for it; --force removes its lock all the same, and it stops at its "
        "next commit"
    )


def _release(file: ConditionalFile, seen: Version, owner: Owner, settled: bool) -> None:
    try:
        write_owner(file, replace(owner, released=True, settled=settled), seen.tag)
    except ChangedError as error:
        raise _alive_error(owner) from error


def _release_by_force(file: ConditionalFile) -> None:
    """Release a lock whoever holds it, however often it is renewed meanwhile."""
    for _ in range(_MAX_TRIES):
        seen = file.read()
        owner = Owner.from_bytes(seen.data) if seen else None
        if seen is None or owner is None or owner.released:
            return
        try:
            write_owner(file, replace(owner, released=True, settled=False), seen.tag)
            return
        except ChangedError:
            continue
    raise RootBusyError(f"the lock changed during each of {_MAX_TRIES} attempts: stop its job, then try again")


def _unlock_older(root: Root, force: bool, tell: Tell, pace: Pace, dry: bool) -> bool:
    file = open_conditional_file(legacy_lock_uri(root))
    seen = file.read()
    if seen is None:
        return False
    owner = parse_legacy_owner(seen)
    tell(f"{legacy_lock_uri(root)}, of an older version: {describe_owner(owner)}")
    if dry:
        return True
    if not force:
        if is_legacy_owner_running(owner):
            raise _alive_error(owner)
        watch = LockWatch(root, file, legacy_lease(pace), 0.0, pace, tell, then="removed")
        if not _falls_silent(watch, seen, owner):
            tell(f"released by {owner}")
            return True
    root.delete("runs", "lock.json")
    tell(f"removed the lock of {owner}")
    return True


def _format_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
