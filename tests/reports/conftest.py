import shutil

import pytest
from report import make_synthetic_root

from m3ray.storage.root import Root


@pytest.fixture(scope="session")
def made_root(tmp_path_factory):
    """A root as `reproduce.py` leaves it, drawn once; tests take a copy."""
    return make_synthetic_root(tmp_path_factory.mktemp("made") / "root", 240)


@pytest.fixture
def root(made_root, tmp_path):
    shutil.copytree(made_root.path(), tmp_path / "root", ignore=shutil.ignore_patterns("videos", "demo"))
    return Root(str(tmp_path / "root"))
