"""What tests of the pipelines must not find of jobs that ran before them in the same process."""

import pytest

from m3ray.pipelines.runtime.worker_entry import send_environment


@pytest.fixture(autouse=True)
def _no_check_of_an_earlier_job():
    """A check that a job sent to later nodes is made by whatever stage runs next in this process."""
    send_environment()
