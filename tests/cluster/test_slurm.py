"""docs/slurm.sh, with stand-ins for Slurm's own programs: what it runs, and how it ends."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from m3ray.commands.catalogue import COMMANDS
from m3ray.commands.short_help import load_options

TOP = Path(__file__).parents[2]
SCRIPT = TOP / "docs" / "slurm.sh"
# Every option that the script gives srun has a value of its own.
SRUN = '#!/bin/bash\nwhile [[ $1 == --* ]]; do shift 2; done\nexec "$@"\n'
# Runs what follows the bare --, as `ray symmetric-run` does on the first node.
RAY = '#!/bin/bash\necho "ray $*"\nwhile [ "$1" != -- ]; do shift; done\nshift\n"$@"\n'


def write_program(folder, name, text):
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def slurm(tmp_path):
    """What a job's first node has: programs on PATH, and the job's variables."""
    programs = tmp_path / "bin"
    programs.mkdir()
    write_program(programs, "srun", SRUN)
    write_program(programs, "scontrol", "#!/bin/bash\necho here\necho there\n")
    job = {"SLURM_JOB_ID": "20007", "SLURM_JOB_NODELIST": "here,there", "SLURM_JOB_NUM_NODES": "1"}
    path = f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return programs, {**os.environ, **job, "SLURM_CPUS_ON_NODE": "2", "PATH": path}


def run_script(environment, folder, *words, before=()):
    command = [*before, "bash", SCRIPT, *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=900
    )


def test_its_examples_are_commands():
    lines = re.findall(r"^#   sbatch .*?docs/slurm.sh m3ray (.*)$", SCRIPT.read_text(), re.MULTILINE)
    assert len(lines) == 2
    for name, *words in map(shlex.split, lines):
        tyro.cli(load_options(COMMANDS[name]), args=words)


def test_one_task_a_node_which_it_has_to_itself():
    settings = re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", SCRIPT.read_text(), re.MULTILINE)
    assert dict(settings) | {"ntasks-per-node": "1", "exclusive": ""} == dict(settings)


def test_every_line_for_sbatch_is_options_alone_also_those_to_take_a_sign_from():
    """Sbatch reads to the end of the line: "Invalid directive found in batch script: CHANGE" was a comment there."""
    lines = re.findall(r"^#?#SBATCH (.*)$", SCRIPT.read_text(), re.MULTILINE)
    assert "--partition=gpu --gpus-per-node=1" in lines
    assert [line for line in lines for word in shlex.split(line) if not re.fullmatch(r"--[a-z-]+(=\S+)?", word)] == []


def test_ray_gets_the_address_the_token_and_the_cores(slurm, tmp_path):
    programs, environment = slurm
    write_program(programs, "ray", RAY)
    write_program(programs, "hostname", "#!/bin/bash\necho '10.1.2.3 10.4.5.6 '\n")
    found = run_script(environment, tmp_path, "env")
    assert found.returncode == 0, found.stderr
    first, *rest = found.stdout.splitlines()
    assert first.startswith("ray symmetric-run --address 10.1.2.3:20007 --min-nodes 1 --num-cpus 2 -- ")
    values = dict(line.split("=", 1) for line in rest if "=" in line)
    assert values["RAY_ADDRESS"] == "10.1.2.3:20007"
    assert values["RAY_AUTH_MODE"] == "token"
    assert re.fullmatch("[0-9a-f]{64}", values["RAY_AUTH_TOKEN"])
    assert values["RAY_TMPDIR"].endswith("20007")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin"]


def test_it_ends_as_the_command_does(slurm, tmp_path):
    programs, environment = slurm
    write_program(programs, "ray", RAY)
    words = ("bash", "-c", "exit 3")
    assert run_script(environment, tmp_path, *words).returncode == 3
    assert run_script(environment, tmp_path, "echo", "a b", "c").stdout.splitlines()[-1] == "a b c"


def test_a_ray_that_does_not_start_is_a_failure(slurm, tmp_path):
    """`ray symmetric-run` of Ray 2.60 then prints why, and ends with 0."""
    programs, environment = slurm
    write_program(programs, "ray", "#!/bin/bash\necho 'Failed to start Ray'\n")
    found = run_script(environment, tmp_path, "true")
    assert found.returncode == 1
    assert found.stderr.startswith("error: the command did not end")


def test_without_a_command_it_says_how_it_is_used(slurm, tmp_path):
    found = run_script(slurm[1], tmp_path)
    assert (found.returncode, found.stderr.split()[0]) == (2, "usage:")


@pytest.mark.slow
@pytest.mark.integration
def test_a_job_runs_on_a_ray_of_its_own(slurm, tmp_path):
    """With Ray's own processes, in a process namespace: the `ray stop` at the end would stop others' Ray too."""
    alone = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("process namespaces need rights that are not given here")
    _, environment = slurm
    words = ["m3ray", "extract", "--dataset", "demo", "--limit", "2", "--tiers", "raw", "--out", "root"]
    environment |= {"SLURM_JOB_ID": str(os.getpid())}
    found = run_script(environment, tmp_path, *words, before=alone)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "On head node" in found.stdout
    assert "success" in found.stdout + found.stderr
    assert list((tmp_path / "root" / "features").glob("raw-*/*.parquet"))
