"""MATLAB files: what SciPy writes is read, and what could harm is rejected before SciPy sees it."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from scipy.io import loadmat, savemat

from m3ray.datasets.mat_files import read_mat_structs, unpack_mat
from m3ray.errors import SchemaError

FIELDS = ("name", "count", "told")
# Of version 4 there are some too, which knows no structures.
WRITTEN_BY_MATLAB = [
    path
    for path in sorted(Path(scipy.io.__file__).parent.glob("matlab/tests/data/*.mat"))
    if path.read_bytes()[126:128] in (b"IM", b"MI")
]


def mat(compressed=True, **values):
    structs = np.zeros((1, 2), dtype=[(field, object) for field in (*FIELDS, "other")])
    structs[0, 0] = ("a.jpg", 3.0, {"hits": 2, "rates": np.arange(3.0)}, "x")
    structs[0, 1] = ("émoi.jpg", 2.5, {"hits": 1, "rates": np.arange(2.0)}, "")
    buffer = io.BytesIO()
    savemat(buffer, {"allImages": structs, **values}, do_compression=compressed)
    return buffer.getvalue()


def element(kind, body):
    return struct.pack("<II", kind, len(body)) + body + b"\0" * (-len(body) % 8)


def head(name=b""):
    """Flags of a cell array, its dimensions, and its name."""
    return element(6, struct.pack("<II", 1, 0)) + element(5, struct.pack("<ii", 1, 1)) + element(1, name)


def nested(depth):
    """Cells within one another, as the format's description has them."""
    body = element(14, b"")
    parts, size = [body], len(body)
    for level in range(depth):
        start = head(b"allImages" if level == depth - 1 else b"")
        parts.append(struct.pack("<II", 14, len(start) + size) + start)
        size += len(parts[-1])
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x100) + b"IM" + b"".join(reversed(parts))


@pytest.mark.parametrize("compressed", [True, False])
def test_structures_become_dictionaries(compressed):
    first, second = read_mat_structs(mat(compressed), "f.mat", "allImages", FIELDS)
    assert (first["name"], first["count"], first["told"]["hits"]) == ("a.jpg", 3.0, 2)
    assert first["told"]["rates"].tolist() == [[0, 1, 2]]
    assert (second["name"], second["count"]) == ("émoi.jpg", 2.5)
    assert "other" not in first


def test_unpacking_changes_nothing_but_the_size():
    packed = mat(numbers=np.arange(1000.0))
    flat = unpack_mat(packed, "f.mat")
    assert len(flat) > len(packed)
    assert loadmat(io.BytesIO(flat))["numbers"].tolist() == [list(range(1000))]


@pytest.mark.skipif(not WRITTEN_BY_MATLAB, reason="this SciPy comes without its tests' files")
def test_files_that_matlab_wrote_are_as_before_when_unpacked():
    """SciPy's own: versions 5 to 7.4, both byte orders, objects, cells, short elements; what it rejects may differ."""
    compared = 0
    for path in WRITTEN_BY_MATLAB:
        data = path.read_bytes()
        try:
            expected = loadmat(io.BytesIO(data))
        except Exception:  # some are damaged on purpose
            continue
        assert repr(loadmat(io.BytesIO(unpack_mat(data, path.name)))) == repr(expected), path.name
        compared += 1
    assert compared > 50


@pytest.mark.skipif(not WRITTEN_BY_MATLAB, reason="this SciPy comes without its tests' files")
def test_an_array_of_structures_that_matlab_wrote():
    path = next(path for path in WRITTEN_BY_MATLAB if path.name == "teststructarr_7.4_GLNX86.mat")
    found = read_mat_structs(path.read_bytes(), "f.mat", "teststructarr", ("one", "two"))
    assert found == [{"one": 1, "two": 2}, {"one": "number 1", "two": "number 2"}], "as SciPy's test_mio.py has it"


def test_the_other_byte_order_is_known():
    data = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x100) + b"MI" + struct.pack(">II", 14, 8) + b"\0" * 8
    assert unpack_mat(data, "f.mat") == data


def test_arrays_that_lie_too_deep_are_rejected_before_scipy_ends_the_process():
    assert unpack_mat(nested(60), "f.mat") == nested(60)
    with pytest.raises(SchemaError, match=r"f\.mat: arrays lie more than 64 levels deep"):
        read_mat_structs(nested(20_000), "f.mat", "allImages", FIELDS)


def bomb(size=10**6):
    packed = zlib.compress(element(14, b"\0" * size), 9)
    return mat()[:128] + struct.pack("<II", 15, len(packed)) + packed


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"MATLAB 7.3 MAT-file, Platform".ljust(512) + b"\x89HDF\r\n\x1a\n", r"is of MATLAB's version 7\.3 \(HDF5\)"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 600, r"in MATLAB, load it and save\(FILE, 'allImages', '-v7'\)"),
        (b"<!DOCTYPE html>" + b" " * 600, "is no MATLAB file of version 5 to 7"),
        (b"", "is no MATLAB file"),
        (mat()[:-20], "is damaged: it ends too early"),
        (mat(compressed=False)[:-20], "is damaged: it ends too early"),
        (bomb(), "unpacks to more than 100000 bytes, the limit"),
        (mat()[:128] + struct.pack("<II", 15, 8) + b"notzlib!", "is damaged: .*download it anew"),
        (mat()[:128] + element(9, b"\0" * 8), "holds something else than arrays"),
        (mat(compressed=False)[:136] + b"\xff" * 40, "is damaged"),
    ],
)
def test_damaged_or_foreign_files_say_so(data, words):
    with pytest.raises(SchemaError, match=words) as caught:
        read_mat_structs(data, "f.mat", "allImages", FIELDS, max_bytes=100_000)
    assert "\n" not in str(caught.value)


def test_another_variable_or_fewer_fields():
    with pytest.raises(SchemaError, match=r"f\.mat holds no array of structures called others"):
        read_mat_structs(mat(), "f.mat", "others", FIELDS)
    with pytest.raises(SchemaError, match="holds no array of structures called numbers"):
        read_mat_structs(mat(numbers=np.arange(3)), "f.mat", "numbers", FIELDS)
    with pytest.raises(SchemaError, match="allImages lacks score; it has name, count, told, other"):
        read_mat_structs(mat(), "f.mat", "allImages", ("name", "score"))
