"""Security: no job runs a pickle that was planted in any folder of its root."""

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

pytestmark = [pytest.mark.integration, pytest.mark.slow]  # all, so that the root that they plant in is made once


@pytest.fixture(scope="module")
def full_root(jobs, tmp_path_factory):
    """A root in which every job has worked, its clips beside it."""
    out = tmp_path_factory.mktemp("planted") / "root"
    table = write_clips(out.parent / "clips", 16)
    for job, options in list_jobs(jobs, out, table):
        job(options)
    build_report(str(out))
    return out, table


def list_jobs(jobs, out, table, name="own"):
    """List every job with its options, in the order in which a user would call them."""
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
def root(full_root, tmp_path):
    shutil.copytree(full_root[0], tmp_path / "root")
    return tmp_path / "root"


def cut_search(root):
    """Leave the search as a kill after two of three settings does."""
    path = root / "study" / "search" / "settings.json"
    if not path.exists():  # an older m3ray's
        return
    search = json.loads(path.read_text())
    search["settings"][-1] |= {"status": "running", "epochs": []}
    path.write_text(json.dumps(search))


def test_no_job_unpickles_what_lies_in_its_root(full_root, jobs, root, tmp_path, capsys):
    _, table = full_root
    marker = tmp_path / "ran"
    cut_search(root)
    assert plant(root, marker) > 20
    for job, options in list_jobs(jobs, root, table):
        rejected = run_to_message(job, options)
        assert not marker.exists(), f"{job.__name__} ran what was planted"
        assert rejected == ""
    build_report(str(root))
    assert not marker.exists()
    message = capsys.readouterr().out
    assert "search: goes on from" in message
    assert "2 finished settings are kept, 1 that were cut short" in message
    assert len(pd.read_parquet(root / "study" / "search" / "trials.parquet")) == 3


def test_no_job_unpickles_what_it_makes_anew(full_root, jobs, root, tmp_path):
    """Outputs are gone, and what stands in their folders is another's: features, parts, bundles are made again."""
    _, table = full_root
    marker = tmp_path / "ran"
    for pattern in ("features/*/*.parquet", "study/*/parts/*/trial.json", "study/*/settings.json", "models/*/*"):
        for path in root.glob(pattern):
            path.unlink()
    plant(root, marker)
    for job, options in list_jobs(jobs, root, table, name="other"):
        assert "\n" not in run_to_message(job, options)
        assert not marker.exists(), f"{job.__name__} ran what was planted"


def run_to_message(job, options):
    """Run a job: its error message, or empty."""
    try:
        job(options)
    except M3RayError as error:
        return str(error)
    return ""


def test_no_job_unpickles_a_column_of_a_table_of_its_root(full_root, jobs, root, tmp_path):
    """Ray registers a column type of pickles, which a plain read of any Parquet file would load."""
    from ray.data._internal.object_extensions.arrow import ArrowPythonObjectType

    _, table = full_root
    kind, marker = ArrowPythonObjectType(), tmp_path / "ran"
    payload = pickle.dumps(Bad(marker))
    rejected = 0
    for path in pick_tables(root):
        whole, table_before = path.read_bytes(), pq.read_table(path)
        column = pa.ExtensionArray.from_storage(kind, pa.array([payload] * len(table_before), kind.storage_type))
        if not len(table_before):
            continue
        bad = table_before.set_column(0, table_before.column_names[0], column).replace_schema_metadata(
            table_before.schema.metadata
        )
        pq.write_table(bad, path)
        for job, options in list_quick_jobs(jobs, root, table):
            message = run_to_message(job, options)
            rejected += "would run code" in message
            assert "\n" not in message
            assert not marker.exists(), f"{job.__name__} ran a column of {path.relative_to(root)}"
        path.write_bytes(whole)
    assert rejected > 5, "the tables that jobs read are among them"


def pick_tables(root):
    """Pick the first Parquet file of each name in each of the root's folders: parts of a study are read alike."""
    kinds = {
        (path.relative_to(root).parts[0], path.name.split("-")[0]): path for path in sorted(root.rglob("*.parquet"))
    }
    return list(kinds.values())


def list_quick_jobs(jobs, out, table):
    """List jobs that read a root's tables and have little to compute."""
    quick = (jobs.extract, jobs.ablate, jobs.evaluate)
    return [*((job, options) for job, options in list_jobs(jobs, out, table) if job in quick), (build, out)]


def build(out):
    build_report(str(out))
