"""Whoever may write to a root runs nothing in the jobs that read it: a pickle in every folder, and every job."""

import json
import pickle
import shutil

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from black_clips import write_clips
from planting import Bad, plant

from m3ray.config.options import (
    AblateOptions,
    EvaluateOptions,
    ExtractOptions,
    PredictOptions,
    ReproduceOptions,
    TrainOptions,
    TuneOptions,
)
from m3ray.errors import M3RayError
from m3ray.reports.page import build_report

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def filled(jobs, tmp_path_factory):
    """A root in which every job has worked, its clips beside it."""
    out = tmp_path_factory.mktemp("planted") / "root"
    table = write_clips(out.parent / "clips", 16)
    for job, options in everything(jobs, out, table):
        job(options)
    build_report(str(out))
    return out, table


def everything(jobs, out, table, name="own"):
    """Every job with its options, in the order in which a user would call them."""
    out, bundle = str(out), str(out / "models" / name)
    clips = {"dataset": "table", "root": str(table), "tiers": ("raw",), "fps": 6}
    return (
        (jobs.extract, ExtractOptions(out=out, **clips)),
        (jobs.train, TrainOptions(out=out, **clips, name=name, runs=1, epochs=1)),
        (jobs.reproduce, ReproduceOptions(out=out, **clips, tables=(1,), runs=1, epochs=2)),
        (jobs.ablate, AblateOptions(out=out, tables=(1,), runs=1, epochs=2)),
        (jobs.tune, TuneOptions(out=out, trials=3, runs=1, epochs=2)),
        (jobs.predict, PredictOptions(out=out, bundle=bundle, dataset="table", root=str(table))),
        (jobs.evaluate, EvaluateOptions(out=out, bundles=(bundle,), roots=(out,))),
    )


@pytest.fixture
def root(filled, tmp_path):
    shutil.copytree(filled[0], tmp_path / "root")
    return tmp_path / "root"


def cut(root):
    """The search as a kill after two of three settings leaves it."""
    path = root / "study" / "search" / "settings.json"
    if not path.exists():  # an older m3ray's
        return
    found = json.loads(path.read_text())
    found["settings"][-1] |= {"status": "running", "epochs": []}
    path.write_text(json.dumps(found))


def test_no_job_unpickles_what_lies_in_its_root(filled, jobs, root, tmp_path, capsys):
    _, table = filled
    marker = tmp_path / "ran"
    cut(root)
    assert plant(root, marker) > 20
    for job, options in everything(jobs, root, table):
        refused = outcome(job, options)
        assert not marker.exists(), f"{job.__name__} ran what was planted"
        assert refused == ""
    build_report(str(root))
    assert not marker.exists()
    said = capsys.readouterr().out
    assert "search: goes on from" in said
    assert "2 finished settings are kept, 1 that were cut short" in said
    assert len(pd.read_parquet(root / "study" / "search" / "trials.parquet")) == 3


@pytest.mark.slow
def test_no_job_unpickles_what_it_makes_anew(filled, jobs, root, tmp_path):
    """Outputs are gone, and what stands in their folders is another's: features, parts, bundles are made again."""
    _, table = filled
    marker = tmp_path / "ran"
    for pattern in ("features/*/*.parquet", "study/*/parts/*/trial.json", "study/*/settings.json", "models/*/*"):
        for path in root.glob(pattern):
            path.unlink()
    plant(root, marker)
    for job, options in everything(jobs, root, table, name="other"):
        assert "\n" not in outcome(job, options)
        assert not marker.exists(), f"{job.__name__} ran what was planted"


def outcome(job, options):
    """Nothing, or what the job refused with."""
    try:
        job(options)
    except M3RayError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_no_job_unpickles_a_column_of_a_table_of_its_root(filled, jobs, root, tmp_path):
    """Ray registers a column type of pickles, which a plain read of any Parquet file would load."""
    from ray.data._internal.object_extensions.arrow import ArrowPythonObjectType

    _, table = filled
    kind, marker = ArrowPythonObjectType(), tmp_path / "ran"
    payload = pickle.dumps(Bad(marker))
    refused = 0
    for path in one_of_a_kind(root):
        whole, there = path.read_bytes(), pq.read_table(path)
        column = pa.ExtensionArray.from_storage(kind, pa.array([payload] * len(there), kind.storage_type))
        if not len(there):
            continue
        bad = there.set_column(0, there.column_names[0], column).replace_schema_metadata(there.schema.metadata)
        pq.write_table(bad, path)
        for job, options in quick(jobs, root, table):
            said = outcome(job, options)
            refused += "are made by running code" in said
            assert "\n" not in said
            assert not marker.exists(), f"{job.__name__} ran a column of {path.relative_to(root)}"
        path.write_bytes(whole)
    assert refused > 5, "the tables that jobs read are among them"


def one_of_a_kind(root):
    """The first Parquet file of each name in each of the root's folders: parts of a study are read alike."""
    kinds = {
        (path.relative_to(root).parts[0], path.name.split("-")[0]): path for path in sorted(root.rglob("*.parquet"))
    }
    return list(kinds.values())


def quick(jobs, out, table):
    """Jobs that read a root's tables and have little to compute."""
    asked = everything(jobs, out, table)
    wanted = (jobs.extract, jobs.ablate, jobs.evaluate)
    return [*((job, options) for job, options in asked if job in wanted), (build, out)]


def build(out):
    build_report(str(out))
