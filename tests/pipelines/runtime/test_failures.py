"""Whatever is raised, by whom and where, becomes one line; what has more lines goes to the log."""

import errno
import logging

import pyarrow as pa
import pytest

from m3ray.console import LineKeeper, note, printable, say
from m3ray.errors import BundleError, DamagedFileError, DecodeError, JobFailedError, M3RayError, StudyError
from m3ray.pipelines.runtime.failures import foreseen, in_one_line, raised

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
    found = foreseen(error)
    assert isinstance(found, JobFailedError)
    assert found.exit_status == 1
    assert words in str(found)
    assert "\n" not in str(found)
    assert "\x1b" not in str(found)


def test_m3ray_s_own_errors_stay_what_they_are():
    own = StudyError("too few clips")
    assert foreseen(own) is own


def test_an_error_of_ours_out_of_a_worker_is_ours_again():
    found = foreseen(ActorDiedError(OURS))
    assert type(found).__name__ == "WeightsError"
    assert str(found) == "/w/scene.pth is not a file of HRNet: fetch it again"
    assert found.exit_status == 2


def test_an_error_that_a_task_raised_is_taken_out_of_ray_s():
    class Wrapped(Exception):
        cause = BundleError("no bundle at x")

    assert foreseen(Wrapped(FAR)) is Wrapped.cause


def test_of_a_chain_the_first_is_named():
    assert raised(RuntimeError(FAR))[0] == "OSError"


def test_a_reject_that_got_away_is_a_failed_job():
    assert isinstance(foreseen(DecodeError("not_a_video", "begins with x")), M3RayError)
    far = RuntimeError('  File "x", line 1, in f\nm3ray.errors.DecodeError: begins with x')
    assert isinstance(foreseen(far), JobFailedError)


def test_a_damaged_file_is_also_a_value_error():
    """Callers that expect JSON's own error go on doing so."""
    assert issubclass(DamagedFileError, ValueError)


def test_a_line_is_not_endless():
    assert len(in_one_line("x" * 5000)) < 700


# What is shown, and what is kept.


class Ascii:
    encoding = "ascii"


def test_a_name_that_the_terminal_lacks_is_escaped():
    assert printable("映像.mp4", Ascii()) == r"\u6620\u50cf.mp4"
    assert printable("\udcff.mp4", Ascii()) == r"\udcff.mp4"


def test_a_reader_that_has_gone_ends_no_job(monkeypatch):
    import sys

    class Gone:
        encoding = "utf-8"

        def write(self, text):
            raise BrokenPipeError

        flush = write

    monkeypatch.setattr(sys, "stdout", Gone())
    with LineKeeper() as said:
        say("100 % done")
    assert said.lines[0].endswith("100 % done")


def test_a_note_is_kept_and_not_shown(capsys):
    with LineKeeper() as said:
        note("Traceback:\n  File x")
        say("shown")
    assert [line.split(" ", 1)[1] for line in said.lines] == ["Traceback:", "  File x", "shown"]
    assert capsys.readouterr().out == "shown\n"


def test_a_worker_s_traceback_is_cut_down_to_what_was_raised():
    from m3ray.pipelines.runtime.worker_output import without_traceback

    plain = ["(raylet) a worker died", "extract: 3 done"]
    assert without_traceback(plain) == plain
    lines = [
        "Task MapWorker failed, it will be retried. Error: Traceback (most recent call last):",
        '  File "x.py", line 3, in setup',
        "    raise StudyError(x)",
        "    ^^^^^^^^^^^^^^^^^^^",
        "m3ray.errors.StudyError: too few clips",
    ]
    assert without_traceback(lines) == [
        "Task MapWorker failed, it will be retried. Error:",
        "m3ray.errors.StudyError: too few clips",
    ]


def test_ray_s_own_records_with_tracebacks_are_kept_off_the_screen(capsys):
    from m3ray.pipelines.runtime.worker_output import _ToLog

    keeper, record = _ToLog(all_errors=False), logging.LogRecord("ray", logging.ERROR, "x", 1, "plain", (), None)
    assert keeper.filter(record)
    assert not _ToLog(all_errors=True).filter(record)
    try:
        raise ValueError("x")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    with LineKeeper() as said:
        assert not keeper.filter(record)
    assert any("Traceback" in line for line in said.lines)
    assert "Traceback" not in capsys.readouterr().out
