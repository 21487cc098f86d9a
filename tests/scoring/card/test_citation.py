"""Citations, by the rules of the Citation File Format 1.2.0 that a reader needs most."""

import yaml

from m3ray.scoring.card.citation import cite_publication, make_citation
from m3ray.tiers.pretrained.facts import RESMEM, SCORERS


def check(values):
    """Keys that version 1.2.0 demands, and persons or entities as authors."""
    assert values["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(values)
    for work in (values, *values.get("references", ()), *[values[k] for k in ("preferred-citation",) if k in values]):
        assert work["authors"]
        assert work["title"]
        for author in work["authors"]:
            assert set(author) in ({"family-names", "given-names"}, {"family-names"}, {"name"})
    assert all("type" in work for work in values.get("references", ()))


def test_a_bundle_is_cited_with_its_makers_the_paper_and_the_software():
    values = yaml.safe_load(make_citation("m3s", "0.1.0", ["Ada King Lovelace", "Plato"], "CC-BY-4.0", [RESMEM.source]))
    check(values)
    assert values["authors"] == [{"family-names": "Lovelace", "given-names": "Ada King"}, {"name": "Plato"}]
    assert values["license"] == "CC-BY-4.0"
    paper, software, scorer = values["references"]
    assert (paper["year"], software["version"]) == (2023, "0.1.0")
    assert scorer["authors"] == [{"family-names": "Needell"}, {"family-names": "Bainbridge"}]
    assert (scorer["year"], scorer["title"][:9]) == (2022, "Embracing")


def test_what_is_unknown_is_left_out():
    values = yaml.safe_load(make_citation("m3s", None, [], None))
    check(values)
    assert values["authors"] == [{"name": "The makers of m3s"}]
    assert "license" not in values
    assert "version" not in values["references"][1]


def test_each_scorer_is_cited_by_its_publication_and_nothing_refers_to_another_place():
    for scorer in SCORERS.values():
        text = cite_publication(scorer.title, scorer.source)
        check(yaml.safe_load(text))
        assert "&id" not in text


def test_a_publication_of_another_form_is_kept_as_it_is():
    values = yaml.safe_load(make_citation("m3s", None, [], None, ["a talk, without a year"]))
    check(values)
    assert values["references"][2]["title"] == "a talk, without a year"
