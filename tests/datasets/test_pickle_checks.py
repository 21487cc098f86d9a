"""Pickles that stand for more than a machine holds are refused before they are loaded; ordinary ones pass."""

import pickle
import signal

import pytest

from m3ray.datasets.pickle_checks import check_plain
from m3ray.datasets.published_splits import load_plain_pickle
from m3ray.errors import SchemaError

NAME, EMPTY, PAIR = "v.mp4", [], ("a", "train")


@pytest.fixture(autouse=True)
def _no_hang():
    signal.alarm(60)
    yield
    signal.alarm(0)


def doubled(levels=40):
    value = ["a"]
    for _ in range(levels):
        value = [value, value]
    return value


def deep(levels=300):
    value = "a"
    for _ in range(levels):
        value = [value]
    return value


def endless():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        ([NAME, NAME, "b"], ["c", NAME]),
        (["a"], EMPTY, EMPTY),
        {"train": ["a", "b"], "val": EMPTY, "valid": EMPTY},
        [PAIR, PAIR, ("b", "val"), ("b", "val")] * 3,
        [[f"v{k}" for k in range(5000)], {f"w{k}" for k in range(3000)}],
        {f"v{k}": "train" for k in range(3000)},
        ([1, 2.5, -(2**31), True, None], [(3,), frozenset({4})]),
    ],
    ids=[
        "strings",
        "one empty list twice",
        "one list under two names",
        "rows twice",
        "batches",
        "dictionary",
        "scalars",
    ],
)
def test_what_programs_write_passes(value, protocol):
    """The value that comes back is the peer's: pickle.loads of the same bytes."""
    data = pickle.dumps(value, protocol=protocol)
    if protocol < 4 and ({set, frozenset} & {type(part) for entry in value for part in (entry, *entry)}):
        # Before protocol 4 a set is written as a call.
        with pytest.raises(SchemaError, match="would run GLOBAL"):
            load_plain_pickle(data, "s.pkl")
        return
    assert load_plain_pickle(data, "s.pkl") == pickle.loads(data)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ([doubled()], ["a"]), "names the same lists again and again"),
        (lambda: ([endless()], ["a"]), "holds a list that holds itself"),
        (lambda: ([10**4000], [1]), "holds a number of more than 18 digits"),
        (lambda: ([deep()], ["b"]), "nests more than 50 lists"),
    ],
    ids=["doubled", "endless", "huge number", "deep"],
)
def test_endless_values_are_refused_in_words(make, words, protocol):
    with pytest.raises(SchemaError, match=rf"s\.pkl.*({words})"):
        load_plain_pickle(pickle.dumps(make(), protocol=protocol), "s.pkl")


def doubled_key(after_tuple=b""):
    """{doubled tuple: "train"}, which no Python program can hash, nor therefore write."""
    data = b"\x80\x04}(X\x01\x00\x00\x00a\x85" + after_tuple + b"\x94"
    for level in range(40):
        data += b"h" + bytes([level]) + b"\x86" + after_tuple + b"\x94"
    return data + b"X\x05\x00\x00\x00trainu."


@pytest.mark.parametrize("after_tuple", [b"", b"N0"], ids=["plain", "behind another opcode"])
def test_keys_that_take_for_ever_to_hash_are_refused(after_tuple):
    with pytest.raises(SchemaError, match="names the same lists again and again"):
        check_plain(doubled_key(after_tuple), "s.pkl")


def test_a_key_too_deep_to_hash_is_refused():
    data = b"\x80\x04}(X\x01\x00\x00\x00a" + b"\x85" * 1_000_000 + b"X\x05\x00\x00\x00trainu."
    with pytest.raises(SchemaError, match="nests more than 50 lists"):
        check_plain(data, "s.pkl")


@pytest.mark.parametrize("data", [b"\x80\x04N2\x86.", b"\x80\x04(\x85.", b"\x80\x04h\x07.", b"\x80\x04\x86."])
def test_damaged_stacks_are_refused(data):
    with pytest.raises(SchemaError, match="pickle"):
        load_plain_pickle(data, "s.pkl")
