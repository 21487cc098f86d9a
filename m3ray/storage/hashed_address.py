"""Addresses that carry the hash of what is there: `https://host/m3s.zip#sha256=...`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from m3ray.errors import ConfigError

_MARK = "#sha256="
_DIGITS = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class HashedAddress:
    """An address, and the hash that the file there must have.

    Args:
        location: path or URI, without the hash.
        sha256: SHA-256 of the file, 64 hexadecimal digits in lower case; None: any file is taken.
    """

    location: str
    sha256: str | None = None


def parse_address(text: str) -> HashedAddress:
    """Part an address from the hash behind it.

    Args:
        text: path or URI, with `#sha256=` and 64 digits behind it, or without. Any other `#` is a letter of the name.
    Returns:
        The address and the hash.
    Raises:
        ConfigError: If what follows `#sha256=` is no SHA-256.
    """
    location, mark, digits = text.rpartition(_MARK)
    if not mark:
        return HashedAddress(text)
    if not _DIGITS.fullmatch(digits.lower()):
        raise ConfigError(
            f"{text!r}: {len(digits)} characters follow {_MARK}, expected the 64 hexadecimal digits that "
            "sha256sum FILE prints"
        )
    return HashedAddress(location, digits.lower())
