"""What the user is told of a listing."""

import pytest

from m3ray.datasets.listing import Listing, SkippedFiles, describe_counts
from m3ray.schema import REJECTS, catalogue_table


@pytest.mark.parametrize(
    ("counts", "words"),
    [({}, ""), ({".txt": 1}, "1 .txt"), ({".jpg": 3, ".txt": 12, ".csv": 3}, "12 .txt, 3 .csv, 3 .jpg")],
)
def test_counts_are_put_into_words_the_largest_first(counts, words):
    assert describe_counts(counts) == words


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.TXT", ".txt"), ("a.tar.gz", ".gz"), ("README", "without an ending"), (".profile", "without an ending")],
)
def test_files_are_counted_by_their_endings(name, ending):
    skipped = SkippedFiles()
    skipped.add(name)
    assert skipped.endings == {ending: 1}


def test_the_note_sums_up_all_that_was_skipped():
    skipped = SkippedFiles()
    assert skipped.notes() == ()
    skipped.add("a.txt")
    skipped.others.update(["hidden", "hidden"])
    skipped.errors += ["first", "second"]
    assert skipped.notes() == (
        "folder: 5 passed over: 1 .txt (no videos, by name or content); 2 hidden; "
        "2 folders that cannot be read (first)",
    )


def test_a_listing_rejects_nothing_unless_told():
    listing = Listing(catalogue_table([]))
    assert (listing.notes, listing.missing) == ((), ())
    assert listing.rejected.schema == REJECTS
    assert listing.rejected.num_rows == 0
