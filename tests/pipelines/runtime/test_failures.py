"""Whatever is raised, by whom and where, becomes one line; what has more lines goes to the log."""

import errno
import logging

import pyarrow as pa
import pytest

from m3ray.errors import BundleError, DamagedFileError, DecodeError, JobFailedError, M3RayError, StudyError
from m3ray.pipelines.runtime.failures import as_m3ray_error, as_one_line, name_and_text

logger = logging.getLogger("m3ray.test")

FAR = """\x1b[36mray::MapBatches(WriteStage)()\x1b[39m (pid=1, ip=10.0.0.1)
  File "/m3ray/data/store.py", line 96, in write_bytes
    stream.write(data)
OSError: [Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device

The above exception was the direct cause of the following exception:

ray::MapBatches(WriteStage)() (pid=1, ip=10.0.0.1)
ray.exceptions.UserCodeException: UDF failed to process a data block."""
OURS = """The actor died because of an error raised in its creation task, ray::MapWorker.__init__() (pid=2)
  File "/m3ray/tiers/network.py", line 3, in setup
KeyError: 'state_dict'

During handling of the above exception, another exception occurred:

  File "/m3ray/tiers/network.py", line 5, in setup
m3ray.errors.WeightsError: /w/scene.pth is not a file of HRNet: fetch it again"""


class ActorDiedError(Exception):
    """By this name Ray's is known."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/r/x"), "the disk is full"),
        (pa.lib.ArrowException("[Errno 28] Error writing bytes"), "the disk is full"),
        (OSError(errno.EROFS, "Read-only file system", "/r/x"), "no right to read or write there"),
        (PermissionError(errno.EACCES, "Permission denied", "/r/x"), "no right to read or write there"),
        (OSError("When reading x: AWS Error ACCESS_DENIED"), "the storage does not answer, or refuses"),
        (MemoryError(), "memory ran out (MemoryError)"),
        (ActorDiedError("The actor died unexpectedly"), "a worker process died"),
        (KeyError("folder"), "KeyError: 'folder': m3ray did not foresee this"),
        (RuntimeError(FAR), "the disk is full (OSError: [Errno 28] Error writing bytes"),
        (UnicodeEncodeError("ascii", "名", 0, 1, "ordinal not in range"), "set PYTHONUTF8=1"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value[:20],
)
def test_a_library_s_error_is_one_line_with_what_to_do(error, words):
    failure = as_m3ray_error(error)
    assert isinstance(failure, JobFailedError)
    assert failure.exit_status == 1
    assert words in str(failure)
    assert "\n" not in str(failure)
    assert "\x1b" not in str(failure)


def test_m3ray_s_own_errors_stay_what_they_are():
    own = StudyError("too few clips")
    assert as_m3ray_error(own) is own


def test_an_error_of_ours_out_of_a_worker_is_ours_again():
    failure = as_m3ray_error(ActorDiedError(OURS))
    assert type(failure).__name__ == "WeightsError"
    assert str(failure) == "/w/scene.pth is not a file of HRNet: fetch it again"
    assert failure.exit_status == 2


def test_an_error_that_a_task_raised_is_taken_out_of_ray_s():
    class WrappedError(Exception):
        cause = BundleError("no bundle at x")

    assert as_m3ray_error(WrappedError(FAR)) is WrappedError.cause


def test_of_a_chain_the_first_is_named():
    assert name_and_text(RuntimeError(FAR))[0] == "OSError"


def test_a_reject_that_got_away_is_a_failed_job():
    assert isinstance(as_m3ray_error(DecodeError("not_a_video", "begins with x")), M3RayError)
    far = RuntimeError('  File "x", line 1, in f\nm3ray.errors.DecodeError: begins with x')
    assert isinstance(as_m3ray_error(far), JobFailedError)


def test_a_damaged_file_is_also_a_value_error():
    """Callers that expect JSON's own error go on doing so."""
    assert issubclass(DamagedFileError, ValueError)


def test_a_line_is_not_endless():
    assert len(as_one_line("x" * 5000)) < 700
