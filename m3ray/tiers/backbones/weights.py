"""Published weight files: fetched once a node, checked against a hash, loaded without running anything in them."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from m3ray.errors import WeightsError
from m3ray.storage.filesystems import filesystem_of

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "encoder.", "backbone.")
# Published DenseNets were saved when a module's name could hold a full stop.
_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)")
_SHOWN = 4
_CHUNK = 1 << 20


def load_weights(module: nn.Module, path_or_url: str | os.PathLike[str], sha256: str | None = None) -> str:
    """Loads a published weight file into `module`.

    Wrappers that such files come in are seen through (`{"state_dict": ...}`, a `module.` or `encoder.` prefix).
    Heads that the module declares as `accepted_but_unused` are left out.

    Args:
        module: the network; its own keys are the expected ones.
        path_or_url: `.pth`, `.mth`, `.pt`, `.safetensors`; a local path, an http(s) URL or an s3:// URI.
        sha256: expected hash of the file, hexadecimal; None: any.
    Returns:
        The file's SHA-256.
    Raises:
        WeightsError: missing or damaged file, another hash, missing, unexpected or mis-shaped keys.
    """
    path = fetch(path_or_url, sha256)
    state = _unwrapped(_read(path))
    ignored = tuple(getattr(module, "accepted_but_unused", ()))
    state = {key: value for key, value in state.items() if not key.startswith(ignored or ("\0",))}
    _check_keys(module, state, path)
    module.load_state_dict(state, strict=False)
    return sha256_of(path)


def fetch(path_or_url: str | os.PathLike[str], sha256: str | None = None) -> Path:
    """The local file of a path or URL, downloaded to the node's cache if need be, its hash checked.

    Raises:
        WeightsError: the file is missing, cannot be downloaded, or has another hash.
    """
    text = os.fspath(path_or_url)
    remote = re.match(r"(https?|s3)://", text) is not None
    path = _download(text, sha256) if remote else Path(text).expanduser()
    if not path.is_file():
        raise WeightsError(f"no weight file at {path}: give an existing path or URL with --weights FILE.json")
    # PyTorch's own files carry the first digits of their hash in their name.
    named = re.search(r"-([0-9a-f]{8,64})\.pth$", text) if remote else None
    expected = sha256 or (named and named.group(1))
    if expected and not sha256_of(path).startswith(expected.lower()):
        raise WeightsError(
            f"{path} has SHA-256 {sha256_of(path)}, expected {expected.lower()}: "
            "another file than was meant, or one cut short; delete it and fetch it again"
        )
    return path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Where downloaded weights are kept on this node: $M3RAY_CACHE, or ~/.cache/m3ray."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "m3ray"
    return Path(os.environ.get("M3RAY_CACHE", default)) / "weights"


def cached_path(url: str) -> Path:
    """Where `url` is or would be kept."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", url.rsplit("/", 1)[-1]) or "weights"
    return cache_folder() / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name}"


def _download(url: str, sha256: str | None) -> Path:
    target = cached_path(url)
    if url.startswith("s3://") and sha256 and target.is_file() and sha256_of(target) != sha256:
        target.unlink()  # the bundle there was trained anew
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # One download a node: the others wait for the lock and find the file.
        with FileLock(f"{target}.lock"):
            if not target.is_file():
                (_copy if url.startswith("s3://") else _resume)(url, target)
    except (OSError, urllib.error.URLError) as error:
        raise WeightsError(
            f"cannot download {url} to {target.parent} ({error}): check the network and the folder's rights, or fetch "
            "the file elsewhere and name it with --weights FILE.json; --weights untrained tries the pipeline without"
        ) from error
    return target


def _copy(uri: str, target: Path) -> None:
    """From S3 to a `.part` file, renamed when whole."""
    part = target.with_suffix(target.suffix + ".part")
    files, path = filesystem_of(uri)
    with files.open_input_stream(path) as stream, part.open("wb") as file:
        while chunk := stream.read(_CHUNK):
            file.write(chunk)
    part.replace(target)


def _resume(url: str, target: Path) -> None:
    """Downloads to a `.part` file, going on where an earlier download was cut, and renames it when whole."""
    part = target.with_suffix(target.suffix + ".part")
    done = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    with urllib.request.urlopen(request, timeout=60) as response:
        continued = done > 0 and response.status == 206
        expected = int(response.headers.get("Content-Length", 0)) + (done if continued else 0)
        with part.open("ab" if continued else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
    if expected and part.stat().st_size != expected:
        raise OSError(f"got {part.stat().st_size} of {expected} bytes; run again to continue")
    part.replace(target)


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise _damaged(path, error) from error
    except Exception as error:
        # torch passes on the unpickler's own error, for rubbish and for files that want to build objects alike.
        if type(error).__name__ != "UnpicklingError":
            raise
        if "GLOBAL" not in str(error):
            raise _damaged(path, error) from error
        raise WeightsError(
            f"{path} holds more than tensors, and unpickling it could run code, so it is refused: save its state_dict "
            "alone, best as .safetensors"
        ) from error


def _damaged(path: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"{path} is not a readable weight file ({type(error).__name__}; it begins with {_head(path)!r}): "
        "it is damaged, cut short, or a web page saved in its place; fetch it again"
    )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _unwrapped(state: Any) -> dict[str, Tensor]:
    while isinstance(state, dict):
        inner = next((state[key] for key in _WRAPPERS if isinstance(state.get(key), dict)), None)
        if inner is None:
            break
        state = inner
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"expected a state_dict (names to tensors), got {type(state).__name__}: save the state_dict")
    for prefix in _PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return {_DENSENET.sub(r"\1", key): value for key, value in state.items()}


def _check_keys(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    expected = module.state_dict()
    # Files from before PyTorch 0.4.1 lack the counters, which inference never reads.
    missing = [k for k in expected if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in expected]
    shapes = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(v.shape)}"
        for k, v in expected.items()
        if k in state and state[k].shape != v.shape
    ]
    problems = [
        f"{len(keys)} {what}: {', '.join(keys[:_SHOWN])}{', ...' if len(keys) > _SHOWN else ''}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if keys
    ]
    if problems:
        raise WeightsError(f"{path} is not a file of {type(module).__name__}; {'; '.join(problems)}")
