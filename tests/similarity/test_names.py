"""The mapping of names to measures."""

import pytest

from m3ray.similarity import MEASURES
from m3ray.similarity.cosine import CosineMean
from m3ray.similarity.names import Measures


def test_names_are_had_without_scikit_learn():
    import subprocess
    import sys

    code = "import sys; from m3ray.similarity import MEASURES; assert 'kde' in MEASURES and len(MEASURES) == 10; "
    code += "sys.exit(bool({'sklearn', 'torch', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(KeyError):
        MEASURES["nearest"]


def test_a_name_gives_its_class():
    assert MEASURES["cosine_mean"] is CosineMean


def test_a_name_is_known_before_its_module_is_imported():
    measures = Measures({"broken": "no_such_module.Class"})
    assert "broken" in measures
    assert list(measures) == ["broken"]
    assert len(measures) == 1
    with pytest.raises(ModuleNotFoundError):
        measures["broken"]
