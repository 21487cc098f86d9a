"""The networks and the MLP as one module."""

import numpy as np
import pytest
import torch
from small_finetuning import FAST, Pooled, part, small_model, some_clips
from torch import nn

from m3ray.config.finetuning import FinetuneConfig
from m3ray.model import MLP
from m3ray.tiers import event
from m3ray.tiers.backbones import fill_untrained_, hrnetv2_w48, ip_csn_152
from m3ray.training.finetuning.model import FinetuneModel


def test_the_vectors_take_the_frozen_ones_place():
    model, clips = small_model().eval(), some_clips()
    scores = model(clips.frames, clips.rows)
    changed = clips.rows.clone()
    changed[:, 1:9] = 7.0
    torch.testing.assert_close(model(clips.frames, changed), scores)
    changed[:, 0] = 7.0
    assert not torch.allclose(model(clips.frames, changed), scores)
    one = torch.cat([model(part(clips, [k]).frames, part(clips, [k]).rows) for k in range(8)])
    torch.testing.assert_close(one, scores, msg="clips of several lengths at once are as one by one")


@pytest.mark.integration
def test_recomputing_blocks_changes_no_gradient():
    gradients = []
    for recomputed in (False, True):
        config = FinetuneConfig(precision="float32", checkpointing=recomputed)
        networks = {"scene": fill_untrained_(hrnetv2_w48()), "event": fill_untrained_(ip_csn_152())}
        columns = {"scene": np.arange(0, 720), "event": np.arange(720, 2768)}
        torch.manual_seed(0)
        model = FinetuneModel(networks, MLP(2768, (64,)), columns, config).train()
        clips = some_clips(2, columns=2768, size=32)
        model(clips.frames, clips.rows).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
        keys = set(model.networks["event"].state_dict())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)
    assert keys == set(ip_csn_152().state_dict()), "names stay those of the published files"


def test_a_network_of_one_tier_replaces_that_tier_s_columns_alone():
    torch.manual_seed(0)
    model = FinetuneModel({"scene": Pooled(nn.Conv2d, nn.BatchNorm2d)}, MLP(11, (8,)), {"scene": np.arange(1, 5)}, FAST)
    clips = some_clips(2)
    vectors = model.eval().vectors(clips.frames)
    assert set(vectors) == {"scene"}
    expected = clips.rows.clone()
    expected[:, 1:5] = vectors["scene"]
    torch.testing.assert_close(model(clips.frames, clips.rows), model.head(expected))


def test_a_short_clip_s_last_frame_is_repeated_as_the_event_tier_does():
    model, clips = small_model().eval(), some_clips(1, length=2)
    frames = clips.frames[0]
    longer = torch.cat([frames, frames[-1:].expand(event.MIN_FRAMES - len(frames), *frames.shape[1:])])
    torch.testing.assert_close(model.vectors([frames])["event"], model.vectors([longer])["event"])


def test_networks_and_head_learn_at_their_own_rates():
    model = small_model()
    networks, head = model.parameter_groups(FinetuneConfig(backbone_learning_rate=1e-5, head_learning_rate=1e-3))
    assert (networks["lr"], head["lr"]) == (1e-5, 1e-3)
    assert len(networks["params"]) + len(head["params"]) == len(list(model.parameters()))
