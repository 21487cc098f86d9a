"""Which clips are the same file: of equal size and hash, as far as that is known or can be read in seconds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m3ray.datasets.clip_contents import is_content_column
from m3ray.datasets.groups import join_numbers, number_groups
from m3ray.datasets.identity import number_videos, video_keys
from m3ray.storage.dataset_folders import ChangeCheck

# Local files of equal size are read up to so many bytes in all: a set of videos has few.
_MAX_READ_BYTES = 1 << 30
_CONTENT = r"^(?P<size>\d+):-?\d+(?::(?P<hash>[a-z0-9]+-\S+))?$"


def number_contents(catalogue: pa.Table, by: ChangeCheck = "fast") -> np.ndarray:
    """Number clips so that those of one file, or of files of the same bytes, share a number.

    Args:
        catalogue: Clips with `uri` and the column that `add_contents` adds, which has sizes and, of objects and where
            they were asked for, hashes.
        by: What identifies a video in this root; "hash" reads whatever files share their size.
    Returns:
        Numbers from 0, (N,), int64.
    """
    videos = number_videos(video_keys(catalogue["uri"], by))
    content = next((catalogue[field.name] for field in catalogue.schema if is_content_column(field)), None)
    if content is None or by == "hash":
        return videos
    parts = pc.extract_regex(content.cast(pa.string()), _CONTENT).combine_chunks()
    sizes, hashes = pc.struct_field(parts, "size"), pc.struct_field(parts, "hash")
    hashed = pc.if_else(pc.equal(hashes, ""), None, pc.binary_join_element_wise(sizes, hashes, ":"))
    numbers = join_numbers(videos, number_groups(pa.chunked_array([hashed])))
    return join_numbers(numbers, _number_unhashed(catalogue["uri"], sizes, hashes))


def _number_unhashed(uris: pa.ChunkedArray, sizes: pa.Array, hashes: pa.Array) -> np.ndarray:
    """Numbers of the files whose size another one has, by their bytes, if these are few; all others are alone."""
    bytes_of = pc.cast(sizes, pa.int64())
    counts = pc.value_counts(bytes_of.drop_null())
    shared = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    unknown = pc.and_(pc.is_in(bytes_of, value_set=shared), pc.fill_null(pc.equal(hashes, ""), False))
    alike = np.flatnonzero(unknown.to_numpy(zero_copy_only=False))
    alone = np.arange(len(sizes))
    if not len(alike) or pc.sum(bytes_of.take(pa.array(alike))).as_py() > _MAX_READ_BYTES:
        return alone
    alone[alike] = len(sizes) + number_videos(video_keys(uris.take(pa.array(alike)), "hash"))
    return alone
