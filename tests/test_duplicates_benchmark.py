"""benchmarks/duplicates.py: its copies, its pairs and its shares, with numbers that can be counted by hand."""

import duplicates
import numpy as np
import pytest
from drawn_films import decode_film
from duplicates import (
    COPIES,
    Shot,
    compute_cosines,
    cut_film,
    encode,
    halve,
    list_pairs,
    make_copies,
    print_found,
    search_with_sklearn,
)

from m3ray.similarity.close_vectors import find_close_vectors


def make_frames(count=13, height=66, width=98):
    """Frames of one grey each, eight levels apart."""
    greys = 8 * np.arange(2, count + 2, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(greys, (count, height, width, 3)).copy()


def test_stretches_do_not_overlap_and_have_a_frame_to_spare():
    shots = cut_film("a", make_frames(25), 10, 3)
    assert [len(shot.frames) for shot in shots] == [11, 11]
    assert [int(shot.frames[0, 0, 0, 0]) for shot in shots] == [16, 16 + 10 * 8]


def test_copies_are_what_they_are_called():
    shot = Shot("a", make_frames(), 10)
    halved = halve(shot.frames)
    assert halved.shape == (13, 32, 48, 3)
    made = {name: change(shot.frames) for name, (change, _) in COPIES.items()}
    assert made["half its size"].shape == (12, 32, 48, 3)
    assert made["brighter"][3].max() == int(1.15 * shot.frames[3].max())
    assert np.array_equal(made["one frame later"][0], shot.frames[1])
    assert {name for name, (_, crf) in COPIES.items() if crf != 20} == {"CRF 26", "CRF 30", "CRF 38"}


def test_a_copy_is_decoded_as_clips_are():
    shot = Shot("a", make_frames(), 10)
    found = {name: frames for _, name, frames in make_copies([shot])}
    assert list(found) == list(COPIES)
    # 12 frames at 10 a second are 1.2 s, which 5 a second take 6 of.
    assert {frames.shape for frames in found.values()} == {(6, 256, 256, 3)}
    first, later = (int(found[name][0].mean().round()) for name in ("as it is", "one frame later"))
    assert later - first == pytest.approx(8, abs=2)  # of one frame, encoded


def test_quality_makes_files_smaller_and_pictures_worse():
    noisy = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3)).astype(np.uint8)
    fine, coarse = encode(noisy, 10, 20), encode(noisy, 10, 38)
    assert len(coarse) < len(fine) / 2
    errors = [np.abs(decode_film(data).astype(float) - noisy).mean() for data in (fine, coarse)]
    assert errors[1] > errors[0]


def test_cosines_are_those_that_the_search_compares():
    rows = np.random.default_rng(0).standard_normal((120, 12)).astype(np.float32) * np.arange(1, 13, dtype=np.float32)
    rows[7] = rows[3] + 0.1
    cosines = compute_cosines(rows)
    close = find_close_vectors([rows], 0.95)
    assert close.nearest[7] == 3
    assert close.similarity[7] == pytest.approx(cosines[3, 7], abs=1e-5)
    assert search_with_sklearn(rows, 0.95) == (np.triu(cosines, 1) >= 0.95).sum() == 1


def test_pairs_are_of_one_shot_of_one_film_or_of_neither():
    cosines = np.arange(16.0).reshape(4, 4)
    films, worst = np.array(["a", "a", "a", "b"]), np.array([False, True, False, False])
    pairs = list_pairs(cosines, np.array([0, 0, 1, 2]), films, worst)
    assert pairs.cosines.tolist() == [1, 2, 3, 6, 7, 11]  # 01 02 03 12 13 23
    assert pairs.same.tolist() == [True, False, False, False, False, False]
    assert pairs.similar.tolist() == [False, True, False, True, False, False]
    assert pairs.has_worst.tolist() == [True, False, False, True, True, False]


def test_a_row_counts_what_is_found_and_what_is_not_a_copy(capsys, monkeypatch):
    monkeypatch.setattr(duplicates, "THRESHOLDS", (0.9,))
    same = np.array([True, True, False, False])
    similar = np.array([False, False, True, False])
    pairs = duplicates.Pairs(np.array([0.95, 0.5, 0.92, 0.99]), same, similar, np.array([True, False, False, False]))
    print_found("some", pairs, np.array([0.9, 0.9, 0.9, 0.1]))
    printed = capsys.readouterr().out
    assert "2 pairs of copies, 1 similar, 1 others" in printed
    assert "| 0.90 | raw alone | 50.0% | 100.0% | 1 | 1 |" in printed
    assert "| 0.90 | and vectors, 0.8 | 50.0% | 100.0% | 1 | 0 |" in printed
