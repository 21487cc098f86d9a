"""The JSON file of --weights, which names the file of each tier's network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from m3ray.errors import ConfigError
from m3ray.storage.secrets import redact


def read_weights_file(choice: str) -> tuple[Path, dict[str, Any]]:
    """Read the JSON file of --weights.

    Args:
        choice: value of --weights.
    Returns:
        Path of the file, and name of each tier to its entry: a path, or `{"path": ..., "sha256": ...}`.
    Raises:
        ConfigError: If there is no such file, it holds no JSON object, or an entry carries credentials.
    """
    file = Path(choice).expanduser()
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"--weights {choice!r}: expected published, untrained, auto, or a JSON file ({error.strerror})"
        ) from error
    except ValueError as error:
        raise ConfigError(f"--weights {file} is not JSON: {error}") from error
    if not isinstance(entries, dict):
        raise ConfigError(f"--weights {file} holds {type(entries).__name__}; expected an object, tier to its file")
    for tier, entry in entries.items():
        if any(redact(str(text)) != str(text) for text in _texts(entry)):
            raise ConfigError(
                f"--weights {file}: the file of {tier} carries credentials, which records and bundles would show: "
                "download it and name its path, or give s3:// and a role"
            )
    return file, entries


def _texts(entry: Any) -> list[Any]:
    return list(entry.values()) if isinstance(entry, dict) else [entry]
