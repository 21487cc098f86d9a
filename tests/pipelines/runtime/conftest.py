import pytest

from m3ray.pipelines.runtime import assigned_gpus, devices


@pytest.fixture
def on_ray(monkeypatch):
    """A process of Ray's that was given these GPUs."""

    def give(*ids):
        monkeypatch.setattr(assigned_gpus.ray, "is_initialized", lambda: True)
        for module in (assigned_gpus, devices):
            monkeypatch.setattr(module, "assigned_gpus", lambda: list(ids))
            monkeypatch.setattr(module, "describe_place", lambda: "node 10.0.0.7")

    return give
