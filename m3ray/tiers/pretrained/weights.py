"""The weights of pretrained scorers: a file in an installed package, whose hash is known, or a published file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from m3ray.errors import ConfigError, WeightsError
from m3ray.tiers.backbones.weights import cache_path, fetch, sha256_of
from m3ray.tiers.network import WeightSource
from m3ray.tiers.pretrained.facts import PretrainedScorer, find_scorer


def find_weights(name: str, *, allow_other: bool = False) -> WeightSource:
    """Find the weights of a pretrained scorer; nothing of its package is imported.

    Args:
        name: name of the scorer.
        allow_other: whether weights of another hash than the published ones are taken.
    Returns:
        The file and its hash.
    Raises:
        ConfigError: If there is no such scorer, or its package is not installed.
        WeightsError: If its package lacks the file, or that is another one than published, or cannot be downloaded.
    """
    facts = find_scorer(name)
    if facts.needs is not None and find_spec(facts.needs) is None:
        raise ConfigError(f"{facts.title} needs {facts.needs}: {facts.install_command}")
    if facts.url is not None:
        return WeightSource(facts.url, _fetch_published(facts, facts.url))
    path = _find_file(facts)
    digest = sha256_of(path)
    if facts.sha256 is not None and digest != facts.sha256 and not allow_other:
        raise WeightsError(
            f"{path} has SHA-256 {digest}, but {facts.title} {facts.version} has {facts.sha256}: other weights give "
            f"other scores; install {facts.package}=={facts.version}, or take these with --allow-other-weights"
        )
    return WeightSource(str(path), digest)


def _fetch_published(facts: PretrainedScorer, url: str) -> str:
    """Fetch a published file into this node's cache, if it is not there; its SHA-256."""
    try:
        return sha256_of(fetch(url))
    except WeightsError as error:
        raise WeightsError(
            f"{facts.title}'s weights cannot be had: {error.__cause__ or error}; fetch {url} elsewhere, and put the "
            f"file at {cache_path(url)}"
        ) from error


def _find_file(facts: PretrainedScorer) -> Path:
    spec = None if facts.package is None else find_spec(facts.package)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    if not folders:
        raise ConfigError(f"{facts.title} is not installed: {facts.install_command} ({facts.licence})")
    path = Path(folders[0]) / facts.file
    if not path.is_file():
        raise WeightsError(f"no weights at {path}: install {facts.package}=={facts.version} again")
    return path
