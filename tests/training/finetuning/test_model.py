"""The networks and the MLP as one module."""

import copy

import numpy as np
import pytest
import torch
from small_finetuning import FAST, Pooled, part, small_model, some_clips
from torch import nn

from m3ray.config.finetuning import FinetuneConfig
from m3ray.model import MLP
from m3ray.tiers import event
from m3ray.tiers.backbones import csn, fill_untrained_, hrnetv2_w48, ip_csn_152
from m3ray.training.finetuning import model as module
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


def test_a_copy_of_a_model_recomputes_its_own_blocks():
    """As the moving average is one: a block that it shared would give the model's features."""
    config = FinetuneConfig(precision="float32", checkpointing=True)
    block = csn.Bottleneck(3, 1, 1, "ir")
    model = FinetuneModel({"event": block}, MLP(4, (4,)), {"event": np.arange(4)}, config)
    other = copy.deepcopy(model)
    torch.nn.init.zeros_(other.networks["event"].conv3[0].weight)
    torch.nn.init.zeros_(other.networks["event"].downsample[0].weight)
    pixels = torch.randn(1, 3, 2, 4, 4)
    assert other.eval().networks["event"](pixels).abs().max() == 0
    assert model.eval().networks["event"](pixels).abs().max() > 0


def test_nothing_is_kept_for_later_where_no_gradient_is_wanted(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "checkpoint", lambda forward, *inputs, **_: calls.append(1) or forward(*inputs))
    config = FinetuneConfig(precision="float32", checkpointing="auto")
    model = FinetuneModel({"event": csn.Bottleneck(3, 1, 1, "ir")}, MLP(4, (4,)), {"event": np.arange(4)}, config)
    with torch.no_grad():
        model.networks["event"](torch.randn(1, 3, 2, 4, 4))
    assert not calls
    model.networks["event"](torch.randn(1, 3, 2, 4, 4))
    assert calls == [1], "and recomputed where nobody has decided"


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
