"""Bundles by what a user calls them: a folder, a zip here or elsewhere, or the name of a pretrained scorer."""

from __future__ import annotations

import os
from typing import TypeAlias

from m3ray.scoring.bundle import Bundle, describe_bundle
from m3ray.scoring.bundle_archive import find_bundle_folder
from m3ray.scoring.pretrained_bundle import PretrainedBundle, describe_provenance, is_pretrained, load_pretrained

AnyBundle: TypeAlias = Bundle | PretrainedBundle


def open_bundle(uri: str | os.PathLike[str], *, allow_other_weights: bool = False) -> AnyBundle:
    """Open a bundle.

    Args:
        uri: A bundle's folder or zip, local or on S3, or a zip's https address with `#sha256=HASH` behind it; or the
            bare name of a pretrained scorer, such as `resmem`; a folder of that name is `./resmem`.
        allow_other_weights: Whether a pretrained scorer may have other weights than the published ones.
    Returns:
        The bundle.
    Raises:
        BundleError: If it is no bundle, of a newer version, changed since it was written, or cannot be fetched.
        ConfigError: If the package of the scorer is not installed, or a web address has no hash.
        WeightsError: If the scorer's weights are other ones than published.
    """
    name = os.fspath(uri)
    if is_pretrained(name):
        return load_pretrained(name, allow_other=allow_other_weights)
    return Bundle.load(find_bundle_folder(name))


def describe(bundle: AnyBundle) -> str:
    """Say in a line what a bundle is.

    Args:
        bundle: The bundle.
    Returns:
        A line for a log.
    """
    if isinstance(bundle, PretrainedBundle):
        return f"{bundle.name}: {describe_provenance(bundle.provenance())}"
    return describe_bundle(bundle)
