"""Ray Train around a training: how it is interrupted."""

import signal
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from m3ray.errors import M3RayError
from m3ray.pipelines.finetuning import train
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.storage.root import Root


@pytest.mark.parametrize(("code", "raised"), [(0, KeyboardInterrupt), (None, KeyboardInterrupt), (143, SystemExit)])
def test_an_interrupted_training_is_no_success(code, raised):
    """Ray Train leaves with status 0 after Ctrl-C; SIGTERM's own status stays."""
    with pytest.raises(raised), train._keep_interrupts():
        raise SystemExit(code)


@pytest.mark.parametrize("fails", [False, True])
def test_ctrl_c_is_the_job_s_again_after_a_training(monkeypatch, tmp_path, fails):
    """Ray Train's handler stays otherwise, and only says that it aborts a training that has ended."""

    def trainer(*_args, **_options):
        def fit():
            signal.signal(signal.SIGINT, lambda *_: None)
            if fails:
                raise RuntimeError("lost")

        return SimpleNamespace(fit=fit)

    monkeypatch.setattr(train, "TorchTrainer", trainer)
    monkeypatch.setattr(train, "_read_outcome", lambda *_: "outcome")
    monkeypatch.setattr(train.ray, "put", lambda value: value)
    work = SimpleNamespace(layout=SimpleNamespace(workers=1), config=SimpleNamespace(keep=1))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(M3RayError, match="lost") if fails else nullcontext():
        assert train.train_run(Root(str(tmp_path)), "run", work, {}, Resources(1, 0)) == "outcome"
    assert signal.getsignal(signal.SIGINT) is before
