"""HRNet's vectors of first frames."""

import numpy as np
import torch
from drifting import drifting_noise

from m3ray.config import SceneConfig
from m3ray.tiers import SceneTier, WeightSource, Window
from m3ray.tiers.scene import compute_first_frames


def test_the_scene_is_that_of_the_first_frame_alone():
    tier = SceneTier(SceneConfig(precision="float32"), WeightSource())
    tier.setup(torch.device("cpu"))
    small = np.ascontiguousarray(drifting_noise(4)[:, :64, :64])
    first, later = tier.compute([Window(small), Window(small[::-1].copy(), index=1)])
    assert later == {}
    assert np.array_equal(first["scene"].value, tier.compute([Window(small[:1])])[0]["scene"].value)


def test_windows_of_many_clips_keep_their_order():
    class Network:
        device = torch.device("cpu")

        def __call__(self, batches):
            return [batch[:, 0, 0, :1].numpy() for batch in batches]

    class FirstPixel:
        column = "pixel"
        loaded = Network()

    def window(value, index):
        return Window(np.full((2, 4, 4, 3), value, np.uint8), index)

    windows = [window(7, 0), window(8, 1), window(9, 0), window(1, 1), window(2, 2)]
    values = compute_first_frames(FirstPixel, windows)
    assert [v["pixel"].value.item() if v else None for v in values] == [7, None, 9, None, None]
