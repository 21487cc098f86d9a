"""One session of Ray for all integration tests."""

import os

import pytest


@pytest.fixture(scope="session")
def jobs():
    os.environ["RAY_AUTH_MODE"] = "disabled"
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=1 << 29, log_to_driver=False)
    from m3ray.pipelines import jobs

    yield jobs
    ray.shutdown()
