"""The model card and the citation of any bundle."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from m3ray.scoring.bundle import Bundle
from m3ray.scoring.bundle_metadata import BUNDLE_FILE, select_sources
from m3ray.scoring.card.citation import CITATION_FILE, cite_publication, make_citation
from m3ray.scoring.card.data_section import name_dataset
from m3ray.scoring.card.energy import find_usage
from m3ray.scoring.card.front_matter import make_front_matter
from m3ray.scoring.card.licences import find_spdx
from m3ray.scoring.card.measured import measure_bundle
from m3ray.scoring.card.scorer_sections import write_scorer_sections
from m3ray.scoring.card.sections import Maker, write_sections
from m3ray.scoring.open_bundle import AnyBundle
from m3ray.storage.root import Root
from m3ray.tiers.pretrained.facts import SCORERS

CARD_FILE = "README.md"
"""Name of a card where hubs and people look for it."""
_MARK = "<!-- card of the bundle.json of SHA-256 "
__all__ = ["CARD_FILE", "CITATION_FILE", "Card", "Maker", "is_outdated", "write_card"]


@dataclass(frozen=True)
class Card:
    """A model card.

    Args:
        text: the card, Markdown with a head of YAML.
        citation: the citation, `CITATION.cff`.
    """

    text: str
    citation: str


def write_card(bundle: AnyBundle, maker: Maker | None = None) -> Card:
    """Write the card of a bundle from what it knows; what it does not know is left out, or said to be unknown.

    Args:
        bundle: the bundle.
        maker: what its maker says; None: nothing.
    Returns:
        Card and citation.
    """
    maker = maker or Maker()
    if not isinstance(bundle, Bundle):
        facts = bundle.facts
        head = make_front_matter(bundle.name, (), None, _name_terms(facts.licence), tags=("image-memorability",))
        return Card(f"{head}\n\n{write_scorer_sections(bundle)}", cite_publication(facts.title, facts.source))
    measured, used = measure_bundle(bundle), find_usage(bundle.uri)
    licence = None if maker.licence is None else _name_terms(maker.licence)
    head = make_front_matter(bundle.name, measured, name_dataset(bundle), licence, used=used)
    seen = select_sources(bundle.metadata, bundle.tiers)
    sources = [SCORERS[tier].source for tier in seen if tier in SCORERS]
    version = (bundle.metadata.versions or {}).get("m3ray")
    spdx = None if maker.licence is None else find_spdx(maker.licence)
    citation = make_citation(bundle.name, version, maker.authors, spdx, sources)
    return Card(f"{head}\n\n{write_sections(bundle, measured, used, maker)}{_make_mark(bundle.uri)}", citation)


def _make_mark(uri: str | None) -> str:
    """A line that nobody sees: which `bundle.json` the card is of."""
    if uri is None:
        return ""
    return f"\n{_MARK}{hashlib.sha256(Root(uri).read_bytes(BUNDLE_FILE)).hexdigest()} -->\n"


def is_outdated(card: str, bundle_json: bytes) -> bool:
    """Tell whether a card is of an earlier bundle in the same folder.

    Args:
        card: the card's text.
        bundle_json: content of the folder's `bundle.json`.
    Returns:
        Whether it says so; a card that was written by hand says nothing.
    """
    _, mark, rest = card.rpartition(_MARK)
    return bool(mark) and not rest.startswith(hashlib.sha256(bundle_json).hexdigest())


def _name_terms(licence: str) -> tuple[str, str]:
    """The hub's identifier of a licence, `other` where it has none, and its own name."""
    spdx = find_spdx(licence)
    return ("other", licence) if spdx is None else (spdx.lower(), spdx)
