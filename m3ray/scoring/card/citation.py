"""The citation of a bundle as a file of the Citation File Format, version 1.2.0."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from m3ray import __version__

CITATION_FILE = "CITATION.cff"
_SOURCE = re.compile(r"(?P<authors>.+?) (?P<year>\d{4}), (?P<title>.+)")
_PAPER: dict[str, Any] = {
    "type": "conference-paper",
    "title": "Modular Memorability: Tiered Representations for Video Memorability Prediction",
    "authors": [
        {"family-names": "Dumont", "given-names": "Théo"},
        {"family-names": "Hevia", "given-names": "Juan Segundo"},
        {"family-names": "Fosco", "given-names": "Camilo L."},
    ],
    "collection-title": "Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
    "conference": {"name": "IEEE/CVF Conference on Computer Vision and Pattern Recognition"},
    "year": 2023,
}


class _PlainDumper(yaml.SafeDumper):
    """Writes a value twice where it stands twice: readers of citations know no references within a file."""

    def ignore_aliases(self, data: Any) -> bool:
        """Whether a value gets no name that others could refer to: always."""
        return True


def make_citation(
    name: str, version: str | None, authors: Sequence[str], licence: str | None, sources: Sequence[str] = ()
) -> str:
    """Make the citation of a bundle.

    Args:
        name: name of the bundle.
        version: version of the m3ray that made it; None: unknown.
        authors: names of its makers, `Given Family`; none: they are not named.
        licence: SPDX identifier of its licence; None: there is none.
        sources: publications of pretrained scorers that it uses, as `PretrainedScorer` has them.
    Returns:
        YAML.
    """
    values: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use this model, please cite it, and the works that it rests on.",
        "type": "software",
        "title": f"{name}: a model of video memorability",
        "authors": [_name_author(author) for author in authors] or [{"name": f"The makers of {name}"}],
        **({} if licence is None else {"license": licence}),
        "keywords": ["video memorability"],
        "references": [_PAPER, _cite_m3ray(version), *_list_publications(sources)],
    }
    return _dump(values)


def cite_publication(title: str, source: str) -> str:
    """Make the citation of a model that others published.

    Args:
        title: name of the model.
        source: its publication, as `PretrainedScorer` has it.
    Returns:
        YAML.
    """
    publication = _list_publications([source])[0]
    return _dump(
        {
            "cff-version": "1.2.0",
            "message": f"If you use {title}, please cite its publication.",
            "type": "software",
            "title": title,
            "authors": publication["authors"],
            "preferred-citation": publication,
            "references": [_cite_m3ray(__version__)],
        }
    )


def _cite_m3ray(version: str | None) -> dict[str, Any]:
    software: dict[str, Any] = {"type": "software", "title": "m3ray", "authors": [{"name": "The m3ray authors"}]}
    return software if version is None else {**software, "version": version}


def _dump(values: dict[str, Any]) -> str:
    return str(yaml.dump(values, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=120))


def _name_author(author: str) -> dict[str, str]:
    """A person of two names or more; else a name as it is, such as that of a laboratory."""
    given, _, family = author.strip().rpartition(" ")
    return {"family-names": family, "given-names": given} if given else {"name": family}


def _list_publications(sources: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for source in sources:
        parts = _SOURCE.fullmatch(source)
        if parts is None:
            found.append({"type": "generic", "title": source, "authors": [{"name": source}]})
            continue
        names = re.split(r", | and ", parts["authors"])
        authors = [{"family-names": name} for name in names]
        found.append({"type": "article", "title": parts["title"], "authors": authors, "year": int(parts["year"])})
    return found
