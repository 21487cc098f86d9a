"""The event tier of images: left out where nothing but images would have it, else announced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from m3ray.config.options import ExtractOptions
from m3ray.datasets.listing import Listing
from m3ray.datasets.media import count_images, count_noun

T = TypeVar("T", bound=ExtractOptions)
EVENT = "event"


def settle_event_tier(options: T, listing: Listing, *, named: bool) -> tuple[T, Listing]:
    """Leave the event tier out of what a job computes by default where all clips are images.

    Args:
        options: options of the job, with its tiers.
        listing: the clips.
        named: whether somebody asked for these tiers, in this job or in an earlier one on its root.
    Returns:
        The options; the listing, with a note for the user where images have an event tier, or lack it.
    """
    images = count_images(listing.table["uri"])
    if EVENT not in options.tiers or not images:
        return options, listing
    if named or images < listing.table.num_rows:
        return options, add_event_note(listing, options.tiers)
    note = (
        f"{EVENT}: left out, as {count_noun(images, 'images')} and no video show no motion; --tiers raw scene {EVENT} "
        "computes it of one frame repeated"
    )
    tiers = tuple(tier for tier in options.tiers if tier != EVENT)
    return replace(options, tiers=tiers), replace(listing, notes=(*listing.notes, note))


def add_event_note(listing: Listing, tiers: Sequence[str]) -> Listing:
    """Tell the user what the event tier makes of images, once for all of them.

    Args:
        listing: the clips.
        tiers: names of the tiers that are computed.
    Returns:
        The listing, with a note where it has images and their event tier is computed.
    """
    images = count_images(listing.table["uri"])
    if EVENT not in tiers or not images:
        return listing
    note = f"{EVENT}: {count_noun(images, 'images')}: one frame repeated, which shows no motion"
    return replace(listing, notes=(*listing.notes, note))
