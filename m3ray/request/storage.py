"""Options about storage: none may carry a secret, and some buckets are read otherwise than the root's."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from m3ray.config import StorageConfig
from m3ray.config.options import RootOptions
from m3ray.errors import ConfigError, DamagedFileError
from m3ray.storage.dry_root import DryRoot
from m3ray.storage.faults import BY_CODE
from m3ray.storage.root_record import RECORD_FILE as RECORD
from m3ray.storage.schemes import access_as_environment
from m3ray.storage.secrets import redact

_MAY_BE_SECRET = ("on_end",)  # no record and no log keeps it whole: a webhook's address is a secret itself


def check_secrets(options: Any, above: str = "") -> None:
    """Check that no option carries a password, a token or a signature.

    Args:
        options: Options of a job; groups of options are dataclasses within.
        above: Name of the group of options, with a dot; empty for the job's own.
    Raises:
        ConfigError: If an option does; it is named, and its value is not.
    """
    for field in dataclasses.fields(options):
        value, name = getattr(options, field.name), above + field.name.replace("_", "-")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            check_secrets(value, f"{name}.")
        elif field.name not in _MAY_BE_SECRET and any(redact(text) != text for text in _iter_texts(value)):
            raise ConfigError(
                f"--{name} carries credentials, which would stand in records and logs: "
                f"{BY_CODE['secret_in_uri'].advice}"
            )


def _iter_texts(value: Any) -> Iterator[str]:
    """The texts of an option; of NAME=FILE also the file."""
    for part in value if isinstance(value, tuple | list) else (value,):
        if isinstance(part, str):
            yield part
            yield part.partition("=")[2]


def use_storage(options: RootOptions) -> None:
    """Let this process read public and requester-pays buckets, as the options say, else as the root's record does.

    Args:
        options: Options of a job.
    """
    config = getattr(options, "storage", StorageConfig())
    os.environ.update(access_as_environment(config if config != StorageConfig() else _read_recorded(options)))


def _read_recorded(options: RootOptions) -> StorageConfig:
    root = DryRoot(options.out)
    # Whoever reads the record for its own sake says what is wrong with it.
    with suppress(DamagedFileError, OSError, AttributeError, KeyError, TypeError):
        if root.exists(RECORD):
            recorded = root.read_json(RECORD)["settings"].get("storage", {})
            return StorageConfig(**{name: tuple(buckets) for name, buckets in recorded.items()})
    return StorageConfig()
