"""The train clips of a bundle as it keeps them: what is kept, what it costs, what becomes of odd data."""

import json

import numpy as np
import pytest
from safetensors.numpy import load, save

from m3ray.errors import BundleError
from m3ray.features.matrix import Block
from m3ray.model import StackedMLP
from m3ray.scoring.reference import compact_space, train_reference
from m3ray.scoring.reference.train_reference import TrainReference, compute_hidden, list_vectors, make_reference

BLOCKS = (
    Block("raw", ("a", "b", "c"), True),
    Block("scene", tuple(f"scene_{k}" for k in range(20)), False),
    Block("length", ("length",), True),
    Block("similarity", ("near", "far"), True),
)


def draw(rows, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, 26)).astype(np.float32)


def make(rows, hidden=(8, 6), seed=0, blocks=BLOCKS, values=None):
    model = StackedMLP(26, hidden, [0, 1]).eval()
    values = draw(rows, seed) if values is None else values
    ids = [f"c{k}" for k in range(rows)]
    return make_reference(ids, values, blocks, np.linspace(0, 1, rows), model), model, values


def test_spaces_are_the_tiers_without_similarity_and_the_last_hidden_layer():
    reference, model, values = make(60)
    assert list(reference.spaces) == ["raw", "scene", "length", "model"]
    assert reference.tiers == ("raw", "scene", "length")
    assert reference.neighbour_spaces == ["raw", "scene", "model"], "one number is no place to have neighbours in"
    assert reference.missing == {}
    assert reference.spaces["model"].vectors.shape[0] == 60
    hidden = compute_hidden(model, values)
    for run in range(2):
        plain = model.extract_run(run)
        x = values
        for layer in plain.layers[:-1]:
            x = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
            x = x * np.tanh(np.log1p(np.exp(x)))  # Mish, as its paper defines it
        np.testing.assert_allclose(hidden[:, 6 * run : 6 * run + 6], x, atol=1e-5)


def test_without_a_hidden_layer_or_an_mlp_the_reason_is_kept():
    assert make(30, hidden=())[0].missing == {"model": "its MLP has no hidden layer"}
    reference = make_reference(["a"] * 30, draw(30), BLOCKS, np.zeros(30), None)
    assert reference.missing == {"model": "no MLP scores in this bundle"}
    assert "model" not in reference.spaces


def test_similarity_counts_where_there_is_nothing_else():
    blocks = (Block("similarity:kde", tuple(f"s{k}" for k in range(26)), True),)
    assert make(30, blocks=blocks)[0].tiers == ("similarity:kde",)


@pytest.mark.parametrize("whole", [True, False])
def test_it_is_the_same_after_a_round_trip(whole, monkeypatch):
    if not whole:
        monkeypatch.setattr(compact_space, "MOST_NUMBERS", 16)
        monkeypatch.setattr(compact_space, "MOST_WHOLE", 0)
    reference, _, values = make(60)
    loaded = TrainReference.from_bytes(reference.to_bytes())
    assert (loaded.ids, loaded.tiers, loaded.total, loaded.missing) == (reference.ids, reference.tiers, 60, {})
    np.testing.assert_array_equal(loaded.own, reference.own)
    assert (loaded.spaces["scene"].compact.axes is None) == whole
    for name, space in reference.spaces.items():
        np.testing.assert_array_equal(loaded.spaces[name].vectors, space.vectors)
        np.testing.assert_array_equal(loaded.spaces[name].own, space.own)
        assert loaded.spaces[name].kept == space.kept
    vectors = loaded.compare(values, BLOCKS, None)
    assert set(vectors) == {"raw", "scene", "length"}
    np.testing.assert_array_equal(vectors["scene"], reference.spaces["scene"].vectors)


def test_own_distances_are_those_to_the_nearest_others():
    """Of three columns nothing is left out: each clip has the distance that brute force gives to 9.99 others."""
    values = draw(1000)
    reference, _, _ = make(1000, values=values)
    raw = values[:, :3] / np.float32(reference.spaces["raw"].compact.scale)
    nearest = np.sort(np.linalg.norm(raw[:, None] - raw[None], axis=2), axis=1)[:, 1:11]
    expected = nearest @ np.array([1] * 9 + [0.99]) / 9.99
    np.testing.assert_allclose(reference.spaces["raw"].own, expected, atol=2e-3)  # float16


def test_of_many_train_clips_some_are_drawn_and_of_few_there_are_no_own_distances(monkeypatch):
    monkeypatch.setattr(train_reference, "MOST_CLIPS", 40)
    reference, _, values = make(100)
    assert (len(reference.ids), reference.total) == (40, 100)
    assert make(100)[0].ids == reference.ids, "the draw is seeded"
    rows = [int(name[1:]) for name in reference.ids]
    np.testing.assert_allclose(reference.scores, np.linspace(0, 1, 100)[rows], atol=1e-7)
    np.testing.assert_array_equal(
        reference.spaces["raw"].vectors,
        reference.spaces["raw"].compact(values[rows][:, :3]),
    )
    assert make(19)[0].own.size == 0


def test_the_share_of_neighbours_that_stay_is_measured(monkeypatch):
    kept = {name: space.kept for name, space in make(200)[0].spaces.items()}
    assert kept["raw"] > 0.99, "3 numbers stand for 3"
    wide = np.random.default_rng(0).standard_normal((400, 300)).astype(np.float32)
    blocks = (Block("scene", tuple(map(str, range(300))), False),)
    few = make_reference(["x"] * 400, wide, blocks, np.zeros(400), None).spaces["scene"]
    assert few.kept > 0.99, "few clips are kept whole"
    monkeypatch.setattr(compact_space, "MOST_WHOLE", 400 * 300 - 1)
    noise = make_reference(["x"] * 400, wide, blocks, np.zeros(400), None).spaces["scene"].kept
    assert noise < 0.5, "64 numbers cannot stand for 300 that have nothing in common"


def test_clips_that_are_all_alike_and_copies_break_nothing():
    values = np.zeros((50, 26), np.float32)
    reference, _, _ = make(50, values=values)
    assert (reference.own == 0).all()
    doubled = np.concatenate([draw(40)] * 2)
    assert (make(80, values=doubled)[0].own > 0).all(), "a copy is no neighbour"


@pytest.mark.parametrize("size", [7000])
def test_a_bundle_of_7000_clips_stays_below_five_megabytes(size):
    """Of scene (720), event (2,048) and eight runs of 64: 64 float16 each and the directions; reckoned, not made.

    That of fewer clips is kept whole up to 2 MiB a space, beside which the mean and ids are little.
    """
    spaces, widths = 4, (15, 720, 2048, 512)
    vectors = size * (16 + 3 * 64) * 2
    directions = sum(min(width, 63) * width * 4 + width * 4 for width in widths)
    ids, numbers = size * 30, size * 4 * (spaces + 2)
    assert (vectors + directions + ids + numbers) / 1e6 < 5
    assert 3 * 2 * compact_space.MOST_WHOLE < 6.3e6
    small, _, _ = make(300)
    assert len(small.to_bytes()) < 300 * (4 + 21 + 13 + 2) * 2 + 300 * (8 + 24) + 20_000


@pytest.mark.parametrize("data", [b"", b"x" * 100, save({"json": np.zeros(3, np.uint8)})])
def test_a_damaged_file_is_an_error_in_a_line(data):
    with pytest.raises(BundleError, match=r"train_reference.safetensors cannot be read .*: copy the bundle anew"):
        TrainReference.from_bytes(data)


def test_a_newer_version_is_told():
    tensors = load(make(30)[0].to_bytes())
    facts = {**json.loads(tensors["json"].tobytes()), "version": 9}
    tensors["json"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    with pytest.raises(BundleError, match="version 9, this m3ray reads up to 1: upgrade m3ray"):
        TrainReference.from_bytes(save(tensors))


def test_vectors_are_cut_as_the_tiers_are():
    values = draw(4)
    vectors = list_vectors(values, BLOCKS, None)
    np.testing.assert_array_equal(vectors["scene"], values[:, 3:23])
    np.testing.assert_array_equal(vectors["length"], values[:, 23:24])


def test_of_few_clips_the_weight_of_the_last_neighbour_is_the_share_that_is_not_the_clip_itself():
    """Of 25 train clips a train clip has 24 others: 10 x (1 - 1/25) = 9.6 neighbours."""
    values = draw(25)
    vectors = make(25, values=values)[0].spaces["raw"].vectors.astype(np.float64)
    nearest = np.sort(np.linalg.norm(vectors[:, None] - vectors[None], axis=2), axis=1)[:, 1:11]
    expected = nearest @ np.array([1] * 9 + [0.6]) / 9.6
    np.testing.assert_allclose(make(25, values=values)[0].spaces["raw"].own, expected, rtol=1e-4)


def test_clips_are_not_measured_by_directions_that_were_fitted_on_themselves(monkeypatch):
    """Where few directions stand for many, each half's distances are by directions that the other half gave."""
    monkeypatch.setattr(compact_space, "MOST_WHOLE", 0)
    wide = np.random.default_rng(0).standard_normal((400, 300)).astype(np.float32)
    blocks = (Block("scene", tuple(map(str, range(300))), False),)
    space = make_reference([f"c{k}" for k in range(400)], wide, blocks, np.zeros(400), None).spaces["scene"]
    spread = np.sqrt(((wide - wide.mean(0)) ** 2).sum(1).mean())
    assert space.compact.scale == pytest.approx(spread, rel=1e-4)
    new = np.random.default_rng(0).permutation(400) % 2 == 1
    vectors = space.vectors.astype(np.float64)
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    nearest = np.sort(distances, axis=1)[new, 1:11]
    expected = nearest @ np.array([1] * 9 + [0.975]) / 9.975
    np.testing.assert_allclose(space.own[new], expected, rtol=1e-4)
