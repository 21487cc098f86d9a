"""What a job's options say of storage: no secret stands in them, and buckets that are not read as the root's are."""

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
from m3ray.storage.root_record import NAME as RECORD
from m3ray.storage.schemes import as_environment
from m3ray.storage.secrets import redacted

_APART = ("on_end",)  # no record and no log keeps it whole: a webhook's address is a secret itself


def check_secrets(options: Any, above: str = "") -> None:
    """Raises ConfigError for an option that carries a password, a token or a signature, and names it alone."""
    for field in dataclasses.fields(options):
        value, name = getattr(options, field.name), above + field.name.replace("_", "-")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            check_secrets(value, f"{name}.")
        elif field.name not in _APART and any(redacted(text) != text for text in _texts(value)):
            raise ConfigError(
                f"--{name} carries credentials, which would stand in records and logs: "
                f"{BY_CODE['secret_in_uri'].advice}"
            )


def _texts(value: Any) -> Iterator[str]:
    """The texts of an option; of NAME=FILE also the file."""
    for part in value if isinstance(value, tuple | list) else (value,):
        if isinstance(part, str):
            yield part
            yield part.partition("=")[2]


def use_storage(options: RootOptions) -> None:
    """Lets this process read public and requester-pays buckets as the options say, else as their root keeps it."""
    asked = getattr(options, "storage", StorageConfig())
    os.environ.update(as_environment(asked if asked != StorageConfig() else _kept(options)))


def _kept(options: RootOptions) -> StorageConfig:
    root = DryRoot(options.out)
    # Whoever reads the record for its own sake says what is wrong with it.
    with suppress(DamagedFileError, OSError, AttributeError, KeyError, TypeError):
        if root.exists(RECORD):
            kept = root.read_json(RECORD)["settings"].get("storage", {})
            return StorageConfig(**{name: tuple(buckets) for name, buckets in kept.items()})
    return StorageConfig()
