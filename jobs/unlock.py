"""Tell which job holds a root, and remove its lock if that job is dead."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from m3ray.cli import main
from m3ray.config.unlock_options import UnlockOptions

if TYPE_CHECKING:
    from m3ray.request.checks import Request


def job(request: Request[UnlockOptions]) -> None:
    # Imported once the options have been checked: --help then answers at once.
    from m3ray.storage.lock import WORKS
    from m3ray.storage.root import Root
    from m3ray.storage.unlocking import unlock

    def tell(line: str) -> None:
        print(line, flush=True)

    options = request.options
    works = WORKS if options.work is None else (options.work,)
    unlock(Root(options.out), works, force=options.force, dry=options.dry_run, tell=tell)


if __name__ == "__main__":
    sys.exit(main(UnlockOptions, job, __doc__ or ""))
