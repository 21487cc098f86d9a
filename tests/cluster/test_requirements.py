"""`requirements.lock`: exact, whole, of what pyproject.toml asks for, and what every node installs."""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import cache_from_source
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

TOP = Path(__file__).parents[2]
TEXT = (TOP / "requirements.lock").read_text()
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
LINUX = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"}
LINUX |= {"python_version": "3.11", "python_full_version": "3.11.9", "implementation_name": "cpython", "extra": ""}
LINUX |= {"platform_python_implementation": "CPython"}


def entries():
    """The requirements of the lock, each with its hashes."""
    logical = TEXT.replace("\\\n", " ").splitlines()
    return [re.split(r"\s+--hash=", line.strip()) for line in logical if line.strip() and not line.startswith("#")]


REQUIREMENTS = [Requirement(requirement) for requirement, *_ in entries()]
LOCKED = {
    canonicalize_name(requirement.name): Version(next(iter(requirement.specifier)).version)
    for requirement in REQUIREMENTS
    if requirement.marker is None or requirement.marker.evaluate(LINUX)
}


def test_every_package_is_pinned_with_hashes_and_comes_from_no_named_place():
    assert len(REQUIREMENTS) > 50
    for (_, *hashes), requirement in zip(entries(), REQUIREMENTS, strict=True):
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        assert "*" not in pin.version
        assert requirement.url is None
        assert hashes
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", digest) for digest in hashes)
    assert not re.search(r"^\s*-|://|# via|@ ", TEXT.replace("    --hash", "hash"), re.MULTILINE)
    assert TEXT.splitlines()[1] == "#    make lock", "its header has the command that makes it anew"
    assert re.search(r"^lock:", (TOP / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("text", [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]])
def test_it_is_of_what_the_project_asks_for(text):
    wanted = Requirement(text)
    if applies(wanted):
        assert LOCKED[canonicalize_name(wanted.name)] in wanted.specifier


def test_it_names_what_its_packages_need():
    """By the metadata of those that are installed here in the locked version: pip refuses a lock that lacks one."""
    seen = set()
    waiting = [wanted for wanted in map(Requirement, PROJECT["project"]["dependencies"]) if applies(wanted)]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        assert LOCKED[name] in wanted.specifier
        if (name, frozenset(wanted.extras)) not in seen:
            seen.add((name, frozenset(wanted.extras)))
            waiting += [needed for needed in requirements_of(name) if applies(needed, wanted.extras)]
    assert len({name for name, _ in seen}) > 20


def applies(requirement, extras=()):
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**LINUX, "extra": extra}) for extra in ("", *extras))


def requirements_of(name):
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return []
    return [Requirement(text) for text in package.requires or []] if Version(package.version) == LOCKED[name] else []


def test_nodes_install_it_and_then_m3ray_without_dependencies():
    config = yaml.safe_load((TOP / "cluster.yaml").read_text())
    (here,) = (there for there, local in config["file_mounts"].items() if local == ".")
    assert config["setup_commands"] == [
        f"pip install -q --require-hashes -r {here}/requirements.lock",
        f"pip install -q --no-deps --no-build-isolation -e {here}",
    ]
    assert not any("requirements" in pattern for pattern in config["rsync_exclude"])


def test_the_image_s_ray_and_python_are_the_lock_s():
    image = yaml.safe_load((TOP / "cluster.yaml").read_text())["docker"]["image"]
    ray, python = re.fullmatch(r"rayproject/ray:([0-9.]+)-py(\d+)", image).groups()
    assert Version(ray) == LOCKED["ray"]
    (base,) = re.findall(r"^ARG BASE=python:(\d+)\.(\d+)\.", (TOP / "Dockerfile").read_text(), re.MULTILINE)
    assert "".join(base) == python, "another Python in the project's own image"
    assert Version(f"{python[0]}.{python[1:]}") in Requirement(f"x{PROJECT['project']['requires-python']}").specifier


@pytest.mark.skipif(not (TOP / ".venv" / ".ready").is_file(), reason="nothing was installed here by `make`")
def test_what_make_installs_is_compiled():
    """Or each process of Ray compiles PyTorch again where PYTHONDONTWRITEBYTECODE is set."""
    packages = TOP / ".venv" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    sources = list((packages / "torch" / "distributed").rglob("*.py"))  # a part that no test imports whole
    assert [source for source in sources if not Path(cache_from_source(str(source))).is_file()] == []
    assert len(sources) > 300
