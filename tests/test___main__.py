"""`python -m m3ray`."""

import subprocess
import sys
from importlib.util import find_spec

import m3ray
from m3ray import __main__


def test_the_module_and_the_function_are_the_same_command():
    from m3ray.commands import dispatch

    assert find_spec("m3ray.__main__") is not None
    assert __main__.main is dispatch.main
    done = subprocess.run([sys.executable, "-m", "m3ray", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"m3ray {m3ray.__version__} (Python ")
