"""The captions of clips: a catalogue's column `captions`, a text, several with `|` between, or a list of texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

import pyarrow as pa

from m3ray.errors import ConfigError
from m3ray.schema import CAPTIONS, is_captions
from m3ray.storage.columns import MISSING_NUMBERS, is_text

Captions = Sequence[str]
"""The captions of one clip; none where it has none."""
# How a text begins that may be a number, a word or a list of JSON, so that few are parsed.
_JSON = re.compile(r"[-\d\[{]|(?:true|false)$", re.IGNORECASE)


def read_captions(catalogue: pa.Table) -> list[Captions]:
    """Read the captions of clips.

    Args:
        catalogue: Clips, perhaps with a column `captions`.
    Returns:
        The captions of each clip, trimmed, without empty ones.
    Raises:
        ConfigError: If the column holds something else than texts, or lists of texts: of a file that tells no types, a
            text that is a number, true, false or an object is something else too.
    """
    if CAPTIONS not in catalogue.column_names:
        return [()] * catalogue.num_rows
    column = catalogue[CAPTIONS]
    if is_text(column.type):
        return [
            _parse_cell((cell or "").strip(), name)
            for cell, name in zip(column.to_pylist(), catalogue["clip_id"].to_pylist(), strict=True)
        ]
    if _is_list(column.type) and (is_text(column.type.value_type) or pa.types.is_null(column.type.value_type)):
        return [_trim(cell or ()) for cell in column.to_pylist()]
    if column.null_count == len(column):
        return [()] * len(column)
    raise ConfigError(
        f"column captions holds {column.type}, expected a text, several with | between, or a list of texts: mend the "
        "table, or leave captions out of --tiers"
    )


def _parse_cell(cell: str, clip: str) -> Captions:
    """The captions in a text: parted by bars, or a list as JSON, as JSON lines have it where other rows hold texts."""
    if cell.lower() in MISSING_NUMBERS:
        return ()
    if not _JSON.match(cell):
        return _trim(cell.split("|"))
    try:
        value = json.loads(cell.lower() if cell.isalpha() else cell)
    except (ValueError, RecursionError):
        return _trim(cell.split("|"))
    if isinstance(value, list) and all(part is None or isinstance(part, str) for part in value):
        return _trim(value)
    raise ConfigError(
        f"column captions of clip {clip} is {cell[:60]}, expected words, several captions with | between, or a list of "
        "texts: mend the table, or leave captions out of --tiers"
    )


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _trim(texts: Sequence[str | None]) -> Captions:
    return tuple(text.strip() for text in texts if text and text.strip())


def check_captions(clips: pa.Table, tiers: Iterable[str], what: str = "--tiers captions") -> None:
    """Check that clips have captions where a model is to see them.

    Args:
        clips: Clips as the data set lists them.
        tiers: Names of the tiers that the model sees.
        what: Who sees them, for the message.
    Raises:
        ConfigError: If it sees captions, and no clip has one; or the column is no text.
    """
    if not any(map(is_captions, tiers)) or any(read_captions(clips)):
        return
    where = "column captions is empty" if CAPTIONS in clips.column_names else "there is no column captions"
    raise ConfigError(
        f"{what}: none of the {clips.num_rows} clips has a caption ({where}): give a table with a column captions (a "
        "text, several with | between, or a list of texts), or a data set that is given out with captions"
    )
