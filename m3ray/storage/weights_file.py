"""The JSON file of --weights: which file each tier's network is read from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from m3ray.errors import ConfigError
from m3ray.storage.secrets import redacted


def read_weights_file(choice: str) -> tuple[Path, dict[str, Any]]:
    """The file, and tier to its entry: a path, or `{"path": ..., "sha256": ...}`.

    Args:
        choice: what --weights was given.
    Raises:
        ConfigError: no such file, not JSON, or no object.
    """
    file = Path(choice).expanduser()
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"--weights {choice!r}: expected published, untrained, auto, or a JSON file ({error.strerror})"
        ) from error
    except ValueError as error:
        raise ConfigError(f"--weights {file} is not JSON: {error}") from error
    if not isinstance(listed, dict):
        raise ConfigError(f"--weights {file} holds {type(listed).__name__}; expected an object, tier to its file")
    for tier, entry in listed.items():
        if any(redacted(str(text)) != str(text) for text in _texts(entry)):
            raise ConfigError(
                f"--weights {file}: the file of {tier} carries credentials, which would stand in records and bundles: "
                "download it and name its path, or give s3:// and a role"
            )
    return file, listed


def _texts(entry: Any) -> list[Any]:
    return list(entry.values()) if isinstance(entry, dict) else [entry]
