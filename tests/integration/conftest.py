"""One session of Ray for the integration tests of a test process, and one small demo that they share."""

import os
import signal

import pytest

CLIPS = 14


@pytest.fixture(autouse=True)
def _ctrl_c_is_the_job_s():
    """Ray Train and Tune take the handler of SIGINT, and do not restore it."""
    yield
    left = signal.signal(signal.SIGINT, signal.default_int_handler)
    assert left is signal.default_int_handler


@pytest.fixture(scope="session")
def jobs():
    os.environ["RAY_AUTH_MODE"] = "disabled"
    import ray

    from m3ray.pipelines import jobs
    from m3ray.pipelines.runtime.cluster import start_patiently

    options = {"include_dashboard": False, "object_store_memory": 1 << 29, "log_to_driver": False}
    start_patiently(lambda: ray.init(address="local", num_cpus=2, **options))

    yield jobs
    ray.shutdown()


@pytest.fixture(scope="session")
def demo(jobs, tmp_path_factory):
    """A root of the whole pipeline on a small demo (2 frames a second, 2 runs, 3 epochs): to be read, or copied."""
    from m3ray.config.options import ReproduceOptions
    from m3ray.reports.page import build_report

    out = tmp_path_factory.mktemp("demo")
    settings = {"limit": CLIPS, "fps": 2, "runs": 2, "epochs": 3, "measure": "fractional_mean"}
    options = ReproduceOptions(out=str(out), **settings, baselines=("none",))  # the same with and without extras
    jobs.reproduce(options)
    build_report(str(out))
    return out, options
