"""Finetuning in one process and as two workers; networks are small here but where their own layers matter."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from small_finetuning import FAST, PretendedDevice, Workers, parameters, part, share_out, small_model, some_clips
from torch import nn

from m3ray.config import TrainConfig
from m3ray.config.finetuning import FinetuneConfig
from m3ray.model import MLP
from m3ray.model.losses import mse_tails
from m3ray.tiers.backbones import fill_untrained_, hrnetv2_w48, ip_csn_152
from m3ray.training.finetuning.collectives import all_gather
from m3ray.training.finetuning.feed import MicroBatch
from m3ray.training.finetuning.model import FinetuneModel
from m3ray.training.finetuning.sampler import plan_step
from m3ray.training.finetuning.trainer import (
    DivergedError,
    FinetuneTrainer,
    OutOfMemoryError,
    batch_loss,
    warmup_cosine,
)

LOSSES = ["mse", "mse_tails", "spearman", "mse_to_spearman"]


@pytest.mark.parametrize("loss", LOSSES)
def test_accumulation_steps_make_the_step_of_the_whole_batch(loss):
    training, clips = TrainConfig(loss=loss), some_clips()
    found = []
    for micro_batches in ([range(8)], [range(4), range(4, 8)], [range(2), range(2, 4), range(4, 6), range(6, 8)]):
        run = FinetuneTrainer(small_model(), FAST, training, 5)
        losses = [run.step([part(clips, rows) for rows in micro_batches], 0.5) for _ in range(5)]
        found.append((losses, parameters(run.model)))
    for losses, weights in found[1:]:
        assert losses == pytest.approx(found[0][0], rel=1e-4)
        torch.testing.assert_close(weights, found[0][1], rtol=0, atol=1e-5)


def test_clips_that_fill_up_a_step_weigh_nothing():
    clips = some_clips()
    padded = MicroBatch(clips.frames, clips.rows, clips.scores, torch.tensor([1.0] * 5 + [0.0] * 3), clips.positions)
    found = []
    for step in (part(clips, range(5)), padded):
        run = FinetuneTrainer(small_model(), FAST, TrainConfig(loss="mse_tails"), 5)
        found.append((run.step([step], 0.0), parameters(run.model)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=1e-6)


def _as_worker(rank, layout, loss, folder, build, count):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=layout.workers)
    model, clips, config = build()
    wrapped = nn.parallel.DistributedDataParallel(model, forward_sync_buffers=False, gradient_as_bucket_view=True)

    run = FinetuneTrainer(
        model,
        config,
        TrainConfig(loss=loss),
        5,
        distributed_model=wrapped,
        gather=all_gather,
        layout=layout,
        rank=rank,
    )
    own = share_out(clips, layout, count)(rank)
    losses = [run.step(own, 0.5, count) for _ in range(5)]
    if rank == 0:
        torch.save({"weights": parameters(model), "losses": losses}, f"{folder}/found.pt")
    dist.barrier()  # a worker that leaves early would abort the other one's last message
    dist.destroy_process_group()


def _small():
    return small_model(), some_clips(), FAST


def _real():
    """Both networks in full, on frames of 32x32; steps as the presets take them."""
    config = FinetuneConfig(precision="float32", checkpointing=False)
    torch.manual_seed(0)
    networks = {"scene": fill_untrained_(hrnetv2_w48()), "event": fill_untrained_(ip_csn_152())}
    columns = {"scene": np.arange(1, 721), "event": np.arange(721, 2769)}
    model = FinetuneModel(networks, MLP(2770, (64,)), columns, config)
    return model, some_clips(columns=2770, size=32), config


@pytest.mark.parametrize("loss", LOSSES)
def test_two_workers_are_one(loss, tmp_path):
    """The issue's bound: parameters within 1e-5 after 5 steps, float32."""
    found, losses, weights = many_and_one(_small, loss, 8, tmp_path)
    assert found["losses"] == pytest.approx(losses, rel=1e-4)
    torch.testing.assert_close(found["weights"], weights, rtol=0, atol=1e-5)


@pytest.mark.integration
def test_three_workers_share_eight_clips_unevenly_and_are_one(tmp_path):
    """Two micro-batches of 2 clips each: 4, 2 and 2 clips, the last two workers with a blank one."""
    found, losses, weights = many_and_one(_small, "mse_to_spearman", 8, tmp_path, workers=3)
    assert found["losses"] == pytest.approx(losses, rel=1e-4)
    torch.testing.assert_close(found["weights"], weights, rtol=0, atol=1e-5)


@pytest.mark.parametrize("workers", [3, 5, 7, 12, 24, 64])
@pytest.mark.parametrize("loss", ["mse", "spearman"])
def test_any_number_of_workers_is_one(loss, workers):
    """Batches of 32 and, at an epoch's end, of 20 clips; the issue's bound, 1e-5."""
    clips, training = some_clips(32), TrainConfig(loss=loss)
    layout = plan_step(32, workers, 4)
    many, one = Workers(layout, training), FinetuneTrainer(small_model(), FAST, training, 5)
    for count in (32, 20, 32):
        losses = many.step(share_out(clips, layout, count), 0.5, count)
        expected = one.step([part(clips, range(count))], 0.5)
        assert losses == pytest.approx([expected] * workers, rel=1e-4)
    for trainer in many.trainers:
        torch.testing.assert_close(parameters(trainer.model), parameters(one.model), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.integration
def test_two_workers_are_one_with_the_full_networks(tmp_path):
    """As above but for the few weights whose gradient is rounding error alone.

    Adam divides a gradient by its size, so that such a weight goes up or down by the learning rate (1e-5, 1e-4 in the
    head) as the last bit falls, whoever adds up.
    """
    found, losses, weights = many_and_one(_real, "mse", 4, tmp_path)
    assert found["losses"] == pytest.approx(losses, rel=1e-4)
    apart = (found["weights"] - weights).abs()
    assert (apart > 1e-5).double().mean() < 1e-5
    assert apart.max() < 5e-5


def many_and_one(build, loss, count, folder, workers=2):
    """What several workers and what one process make of five steps of `count` clips, in micro-batches of 2."""
    mp.spawn(_as_worker, (plan_step(count, workers, 2), loss, str(folder), build, count), nprocs=workers)
    model, clips, config = build()
    run = FinetuneTrainer(model, config, TrainConfig(loss=loss), 5)
    losses = [run.step([part(clips, range(k, k + 2)) for k in range(0, count, 2)], 0.5) for _ in range(5)]
    return torch.load(folder / "found.pt", weights_only=True), losses, parameters(model)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("micro_batches", [[range(8)], [range(4), range(4, 8)]])
@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_a_step_stays_on_its_device_and_waits_once(loss, micro_batches, precision):
    """Forward, backward, clipping, Adam and average on a pretended device: one wait a step, for the loss."""
    config, mode = replace(FAST, precision=precision, ema=0.9), PretendedDevice()
    run = FinetuneTrainer(small_model(config).to(mode.device), config, TrainConfig(loss=loss), 5)
    clips = some_clips()
    parts = [part(clips, rows).copy_to(mode.device) for rows in micro_batches]
    with mode:
        for _ in range(2):
            run.step(parts, 0.5)
            run.vectors(parts[0])
    assert mode.crossings["waits"] == 2
    assert mode.crossings["copies"] <= 2 * (2 + 4), "masks or rows that count, and the networks' constants"
    assert run.step_number == 2


@pytest.mark.integration
def test_the_full_networks_stay_on_their_device():
    """HRNetV2-W48 and CSN-152, their blocks recomputed, on a pretended device."""
    config, mode = FinetuneConfig(precision="float32", checkpointing=True), PretendedDevice()
    with mode.device:
        networks = {"scene": hrnetv2_w48(), "event": ip_csn_152()}
    columns = {"scene": np.arange(1, 721), "event": np.arange(721, 2769)}
    model = FinetuneModel(networks, MLP(2770, (64,)), columns, config).to(mode.device)
    run = FinetuneTrainer(model, config, TrainConfig(loss="mse_tails"), 5)
    clips = some_clips(4, columns=2770, size=64).copy_to(mode.device)
    with mode:
        run.step([clips], 0.0)
        vectors, scores = run.vectors(clips)
    assert mode.crossings["waits"] == 1
    assert {name: tuple(v.shape) for name, v in vectors.items()} == {"scene": (4, 720), "event": (4, 2048)}
    assert scores.is_meta


@pytest.mark.parametrize(("precision", "expected"), [("float32", "ieee"), ("bfloat16", "ieee"), ("tf32", "tf32")])
def test_float32_is_what_the_settings_say(precision, expected, monkeypatch):
    config, found, cudnn = replace(FAST, precision=precision), [], vars(torch.backends)["cudnn"]
    run = FinetuneTrainer(small_model(config), config, TrainConfig(), 5)
    forward = run.model.networks["event"].forward

    def note(pixels):
        found.append((cudnn.conv.fp32_precision, torch.is_autocast_enabled("cpu")))
        return forward(pixels)

    monkeypatch.setattr(run.model.networks["event"], "forward", note)
    run.step([some_clips()], 0.0)
    run.vectors(some_clips())
    assert set(found) == {(expected, precision == "bfloat16")}


@pytest.mark.slow
@pytest.mark.integration
def test_the_full_networks_overfit_eight_clips():
    """8 frames of 64x64 to an MSE under 1e-4; the gradient reaches the first convolution of both networks.

    The matrix says nothing, so all that is learned comes from the frames; batch norms take the batch's own statistics,
    by which random networks tell clips of noise apart within few steps.
    """
    torch.manual_seed(0)
    rates = {"backbone_learning_rate": 1e-4, "head_learning_rate": 1e-3}
    config = FinetuneConfig(precision="float32", checkpointing=False, warm_up=0.02, batch_norm="trained", **rates)
    networks = {"scene": fill_untrained_(hrnetv2_w48()), "event": fill_untrained_(ip_csn_152())}
    columns = {"scene": np.arange(0, 720), "event": np.arange(720, 2768)}
    model = FinetuneModel(networks, MLP(2768), columns, config)
    clips = some_clips(columns=2768, size=64, length=7)
    clips = MicroBatch(clips.frames, torch.zeros_like(clips.rows), clips.scores, clips.mask, clips.positions)
    firsts = (model.networks["scene"].conv1.weight, model.networks["event"].stem[0].weight)
    before = [weight.detach().clone() for weight in firsts]  # type: ignore[operator]
    run = FinetuneTrainer(model, config, TrainConfig(loss="mse"), 36)
    losses = [run.step([clips], 0.0) for _ in range(36)]
    for weight, old in zip(firsts, before, strict=True):
        assert weight.grad is not None
        assert weight.grad.abs().max() > 0
        assert not torch.equal(weight, old)
    assert losses[0] > 1e-2
    assert losses[-1] < 1e-4


def test_batch_norms_keep_their_statistics_unless_told():
    for setting, kept in (("frozen", True), ("trained", False)):
        config = FinetuneConfig(precision="float32", checkpointing=False, batch_norm=setting)
        model = small_model(config)
        before = model.networks["scene"].norm.running_mean.clone()
        run = FinetuneTrainer(model, config, TrainConfig(), 3)
        run.step([some_clips()], 0.0)
        assert torch.equal(model.networks["scene"].norm.running_mean, before) == kept
        assert model.networks["scene"].norm.weight.grad is not None, "their scale is trained in any case"


def test_a_state_goes_on_as_if_nothing_had_happened():
    config = FinetuneConfig(precision="float32", checkpointing=False, ema=0.9, backbone_learning_rate=1e-3)
    whole = FinetuneTrainer(small_model(config), config, TrainConfig(), 6)
    cut = FinetuneTrainer(small_model(config), config, TrainConfig(), 6)
    for k in range(6):
        whole.step([some_clips(seed=k)], 0.0)
    for k in range(3):
        cut.step([some_clips(seed=k)], 0.0)
    again = FinetuneTrainer(small_model(config, seed=9), config, TrainConfig(), 6)
    again.restore(cut.state())
    for k in range(3, 6):
        again.step([some_clips(seed=k)], 0.0)
    torch.testing.assert_close(parameters(again.model), parameters(whole.model), rtol=0, atol=0)
    torch.testing.assert_close(parameters(again.ema_model), parameters(whole.ema_model), rtol=0, atol=0)
    assert not torch.allclose(parameters(whole.ema_model), parameters(whole.model)), "the average lags behind"


def test_a_loss_that_is_no_number_stops_before_the_weights_change():
    run = FinetuneTrainer(small_model(), FAST, TrainConfig(), 6)
    before = parameters(run.model)
    clips = some_clips()
    broken = MicroBatch(clips.frames, clips.rows * math.inf, clips.scores, clips.mask, clips.positions)
    with pytest.raises(DivergedError, match="loss is nan at step 1"):
        run.step([broken], 0.0)
    assert torch.equal(parameters(run.model), before)


def test_memory_that_runs_out_names_what_to_lower(monkeypatch):
    run = FinetuneTrainer(small_model(), FAST, TrainConfig(), 6)

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(run, "compute_gradients", full)
    with pytest.raises(OutOfMemoryError, match=r"8 clips of up to 9 frames .* lower --finetune.micro-batch \(now 4\)"):
        run.step([some_clips()], 0.0)


def test_learning_rates_rise_and_fall():
    config = FinetuneConfig(warm_up=0.1)
    factors = [warmup_cosine(step, 100, config) for step in range(101)]
    assert factors[0] == 0.1
    assert max(factors) == factors[9] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[100] == pytest.approx(0)
    run = FinetuneTrainer(small_model(), FAST, TrainConfig(), 100)
    assert [group["initial_lr"] for group in run.optimiser.param_groups] == [1e-3, 1e-2]


def test_tails_are_far_from_the_train_split_s_mean_where_it_is_known():
    p, y = torch.rand(2, 8, generator=torch.Generator().manual_seed(0))
    config = TrainConfig(loss="mse_tails", tails_centre="data", tails_gain=50.0)
    assert batch_loss(p, y, config, 0.0, 0.8) == mse_tails(p, y, 50.0, centre=0.8)
    assert batch_loss(p, y, config, 0.0) == mse_tails(p, y, 50.0)
    older = replace(config, tails_centre="batch")
    assert batch_loss(p, y, older, 0.0, 0.8) == mse_tails(p, y, 50.0)


def test_a_step_takes_the_mean_that_a_trainer_was_given():
    clips, losses = some_clips(), []
    for mean in (None, 0.9):
        run = FinetuneTrainer(
            small_model(), FAST, TrainConfig(loss="mse_tails", tails_centre="data", tails_gain=50.0), 5
        )
        run.score_mean = mean
        losses.append(run.step([clips], 0.0))
    assert losses[0] != losses[1]
