"""Weight files: downloaded once a node, checked against a hash, loaded without running code that they may hold."""

from __future__ import annotations

import hashlib
import http
import http.client
import os
import re
import urllib.error
import urllib.request
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from m3ray.errors import WeightsError
from m3ray.storage.filesystems import open_filesystem
from m3ray.storage.node_cache import node_cache

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "encoder.", "backbone.")
# Published DenseNets were saved when a module's name could hold a full stop.
_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)")
_MAX_LISTED = 4
_CHUNK = 1 << 20
_LARGE = 64 << 20
_HASH = re.compile("[0-9a-f]{64}")


def load_weights(
    module: nn.Module, path_or_url: str | os.PathLike[str], sha256: str | None = None, *, copy: bool = True
) -> str:
    """Load a published weight file into a network.

    Published files may wrap the state dict (`{"state_dict": ...}`) or prefix its keys (`module.`, `encoder.`): both are
    taken off. Layers that the network declares as `accepted_but_unused`, such as a classifier, are ignored.

    Args:
        module: network to fill; the file must have the keys and shapes of its state dict.
        path_or_url: local path, http(s) URL or s3:// URI of a `.pth`, `.mth`, `.pt` or `.safetensors` file.
        sha256: expected SHA-256 of the file, hexadecimal; None to accept any.
        copy: whether to copy numbers out of the file; else tensors of the module's types stay mapped from it, and the
            file must not be written to.
    Returns:
        The file's SHA-256, hexadecimal.
    Raises:
        WeightsError: If the file is missing, damaged or another one than expected, or lacks or adds keys.
    """
    path = fetch(path_or_url, sha256)
    state = _unwrap(read_file(path))
    ignored = tuple(getattr(module, "accepted_but_unused", ()))
    state = {key: value for key, value in state.items() if not key.startswith(ignored or ("\0",))}
    _check_keys(module, state, path)
    expected = module.state_dict()
    mapped = not copy and all(value.dtype is expected[key].dtype for key, value in state.items())
    module.load_state_dict(state, strict=False, assign=mapped)
    return sha256_of(path)


def fetch(path_or_url: str | os.PathLike[str], sha256: str | None = None) -> Path:
    """Download a weight file to this node's cache, unless it is local or there already, and check its hash.

    Args:
        path_or_url: local path, http(s) URL or s3:// URI.
        sha256: expected SHA-256 of the file, hexadecimal; None to accept any, except that a URL whose file name ends in
            the first digits of a hash, as PyTorch's own do, must have that hash.
    Returns:
        Path of the local file.
    Raises:
        WeightsError: If the file is missing, cannot be downloaded, or has another hash.
    """
    text = os.fspath(path_or_url)
    remote = re.match(r"(https?|s3)://", text) is not None
    path = _download(text, sha256) if remote else Path(text).expanduser()
    if not path.is_file():
        raise WeightsError(f"no weight file at {path}: give an existing path or URL with --weights FILE.json")
    digits_in_name = re.search(r"-([0-9a-f]{8,64})\.pth$", text) if remote else None
    expected = sha256 or (digits_in_name and digits_in_name.group(1))
    if expected and not sha256_of(path).startswith(expected.lower()):
        raise WeightsError(
            f"{path} has SHA-256 {sha256_of(path)}, expected {expected.lower()}: "
            "it is another file, or was cut short; delete it and run again, or correct the hash"
        )
    return path


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal.

    Of a large file it is kept in the cache, until the file's size or one of its times is another: hashing 500 MB takes
    a second and more, at every start.

    Args:
        path: path of the file.
    """
    state = path.stat()
    if state.st_size < _LARGE:
        return _hash_file(path)
    identity = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}|{state.st_ctime_ns}|{state.st_ino}"
    kept = cache_folder() / "hashes" / hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()
    with suppress(OSError, ValueError):
        found = _HASH.fullmatch(kept.read_text(encoding="ascii"))
        if found is not None:
            return found[0]
    digest = _hash_file(path)
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}.part")
        part.write_text(digest, encoding="ascii")
        part.replace(kept)
    return digest


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """The folder for downloaded weights on this node, below $M3RAY_CACHE or ~/.cache/m3ray."""
    return node_cache("weights")


def cache_path(url: str) -> Path:
    """The path in the cache of a downloaded file, whether or not it is there.

    Args:
        url: address that the file is downloaded from.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "_", url.rsplit("/", 1)[-1]) or "weights"
    return cache_folder() / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name}"


def _download(url: str, sha256: str | None) -> Path:
    target = cache_path(url)
    if url.startswith("s3://") and sha256 and target.is_file() and sha256_of(target) != sha256:
        target.unlink()  # the bundle at this URI has been trained again since it was cached
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # One worker of a node downloads; the others wait for the lock, and then the file is there.
        with FileLock(f"{target}.lock"):
            if not target.is_file():
                (_copy_from_s3 if url.startswith("s3://") else _download_or_resume)(url, target)
    except (OSError, urllib.error.URLError) as error:
        raise WeightsError(
            f"cannot download {url} to {target.parent} ({error}): check the network and the folder's rights, or fetch "
            "the file elsewhere and name it with --weights FILE.json; --weights untrained tries the pipeline without"
        ) from error
    return target


def _copy_from_s3(uri: str, target: Path) -> None:
    """Copy to a `.part` file, which is renamed when it is whole."""
    part = target.with_suffix(target.suffix + ".part")
    files, path = open_filesystem(uri)
    with files.open_input_stream(path) as stream, part.open("wb") as file:
        while chunk := stream.read(_CHUNK):
            file.write(chunk)
    part.replace(target)


def _download_or_resume(url: str, target: Path) -> None:
    """Download to a `.part` file, after the bytes that an interrupted download left, and rename it when it is whole."""
    part = target.with_suffix(target.suffix + ".part")
    size = part.stat().st_size if part.is_file() else 0
    with _open_from(url, size) as response:
        resumed = size > 0 and response.status == http.HTTPStatus.PARTIAL_CONTENT
        expected = int(response.headers.get("Content-Length", 0)) + (size if resumed else 0)
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
    if expected and part.stat().st_size != expected:
        raise OSError(f"got {part.stat().st_size} of {expected} bytes; run again to download the rest")
    part.replace(target)


def _open_from(url: str, start: int) -> http.client.HTTPResponse:
    """Open the address at byte `start`; from its beginning where the server has no byte after `start`."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        return urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if start == 0 or error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return urllib.request.urlopen(url, timeout=60)


def read_file(path: Path) -> Any:
    """Read a weight file without running code that it may hold.

    Args:
        path: path of a file of PyTorch's or of a `.safetensors`.
    Returns:
        What it holds.
    Raises:
        WeightsError: If it is damaged, or holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Mapped, so that numbers are read once, into the network; files from before PyTorch 1.6 are no archives.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise _unreadable_file(path, error) from error
    except Exception as error:
        # torch passes on the unpickler's own error, both for random bytes and for files that would build objects.
        if type(error).__name__ != "UnpicklingError":
            raise
        if "GLOBAL" not in str(error):
            raise _unreadable_file(path, error) from error
        raise WeightsError(
            f"{path} holds more than tensors, and unpickling it could run code, so it is rejected: save its state_dict "
            "alone, best as .safetensors"
        ) from error


def _unreadable_file(path: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"{path} is not a readable weight file ({type(error).__name__}; it begins with {_first_bytes(path)!r}): "
        "it is damaged, cut short, or a web page saved in its place; fetch it again"
    )


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _unwrap(state: Any) -> dict[str, Tensor]:
    while isinstance(state, dict):
        inner = next((state[key] for key in _WRAPPERS if isinstance(state.get(key), dict)), None)
        if inner is None:
            break
        state = inner
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(
            f"expected a state_dict (names to tensors), got {type(state).__name__}: save the network's state_dict"
        )
    for prefix in _PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return {_DENSENET.sub(r"\1", key): value for key, value in state.items()}


def _check_keys(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    expected = module.state_dict()
    # Files from before PyTorch 0.4.1 lack the counters of batch norms, which inference never reads.
    missing = [k for k in expected if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in expected]
    shapes = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(v.shape)}"
        for k, v in expected.items()
        if k in state and state[k].shape != v.shape
    ]
    problems = [
        f"{len(keys)} {what}: {', '.join(keys[:_MAX_LISTED])}{', ...' if len(keys) > _MAX_LISTED else ''}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if keys
    ]
    if problems:
        raise WeightsError(f"{path} is not a file of {type(module).__name__}; {'; '.join(problems)}")
