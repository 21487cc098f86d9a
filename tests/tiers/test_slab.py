"""The slab of a batch's frames: one copy on the host, one transfer, and views of it for every tier."""

import numpy as np
import pytest
import torch
from counting import META, CountedOperations
from drifting import drifting_noise
from torch import nn

from m3ray.config import EventConfig, SceneConfig
from m3ray.tiers import EventTier, SceneTier, WeightSource, Window, transfers
from m3ray.tiers.backbones.csn import CSN
from m3ray.tiers.network import LoadedNetwork
from m3ray.tiers.slab import (
    UploadedBatch,
    first_of,
    join_tensors,
    repeat_last_frame,
    shape_of,
    take_frames,
    take_shrunk_frames,
    upload_windows,
)
from m3ray.tiers.transfers import Transfers, Upload

CPU = torch.device("cpu")


def make_windows(side=4):
    """Lengths 9, 12, 9 and 12, the last one with a lead frame; every window has pixels of its own."""
    clips = [np.ascontiguousarray(drifting_noise(n, seed=k)[:, :side, :side]) for k, n in enumerate((9, 12, 9, 12, 1))]
    return [*map(Window, clips[:3]), Window(clips[3], 1, clips[4][0])]


@pytest.fixture
def on_cpu(monkeypatch):
    """Windows as on a device, which is the CPU: their slab has real numbers."""

    def upload(windows):
        monkeypatch.setattr("m3ray.tiers.slab.transfers_of", lambda device: Transfers(CPU))
        return upload_windows(windows, META)

    return upload


def test_every_window_s_upload_is_its_lead_and_frames_in_the_order_asked_for(on_cpu):
    windows = make_windows()
    for window, uploaded in zip(windows, on_cpu(windows), strict=True):
        assert uploaded.uploaded is not None
        expected = window.frames if window.lead is None else np.concatenate([window.lead[None], window.frames])
        assert np.array_equal(uploaded.uploaded.tensor.numpy(), expected)
        assert uploaded.frames is window.frames, "whoever wants the host's frames finds them where they were"


def test_windows_of_one_shape_lie_side_by_side(on_cpu):
    windows = on_cpu([Window(np.full((n, 2, 2, 3), n + k, np.uint8)) for k, n in enumerate((9, 12, 9, 12, 9))])
    parts = [window.uploaded for window in windows if len(window.frames) == 9]
    joined = UploadedBatch(parts).wait()
    assert joined.shape == (3, 9, 2, 2, 3)
    assert joined.is_contiguous()
    assert joined.data_ptr() == parts[0].tensor.data_ptr(), "a view, not a copy"
    assert joined[:, 0, 0, 0, 0].tolist() == [9, 11, 13]


def test_on_a_cpu_windows_stay_as_they_are():
    windows = make_windows()
    assert all(a is b for a, b in zip(upload_windows(windows, CPU), windows, strict=True))
    assert upload_windows([], META) == []


def test_bytes_are_copied_once_and_travel_once(monkeypatch):
    copied = []
    monkeypatch.setattr(transfers, "_join", lambda items, out: copied.append(out.nbytes))
    windows = make_windows()
    with CountedOperations() as counted:
        upload_windows(windows, META)
    assert copied == [(9 + 12 + 9 + 13) * 4 * 4 * 3]
    assert (counted.uploads, counted.downloads, counted.launches) == (1, 0, 0)


def test_large_slabs_travel_in_chunks_of_whole_windows(monkeypatch):
    """Three windows of 48 bytes with room for two in a chunk: 96 + 48."""
    monkeypatch.setattr(transfers, "_CHUNK", 100)
    sizes, join = [], transfers._join
    monkeypatch.setattr(transfers, "_join", lambda items, out: (sizes.append(out.nbytes), join(items, out)))
    arrays = [np.full((4, 2, 2, 3), k, np.uint8) for k in range(3)]
    uploads = Transfers(CPU).upload_slab([[array] for array in arrays])
    assert sizes == [96, 48]
    assert all(np.array_equal(upload.tensor.numpy(), array) for upload, array in zip(uploads, arrays, strict=True))


def test_a_window_larger_than_a_chunk_travels_alone(monkeypatch):
    monkeypatch.setattr(transfers, "_CHUNK", 10)
    uploads = Transfers(CPU).upload_slab([[np.full((1, 2, 2, 3), k, np.uint8)] for k in range(2)])
    assert [upload.tensor[0, 0, 0, 0].item() for upload in uploads] == [0, 1]


@pytest.mark.parametrize("network", [EventTier, SceneTier])
def test_tiers_upload_nothing_of_windows_that_are_there(network, monkeypatch):
    """Before, each tier's batch of one shape was one more upload."""

    class Means(nn.Module):
        def forward(self, x):
            return x.flatten(2).mean(dim=2)

    monkeypatch.setattr(Transfers, "download", lambda self, found: [np.zeros(values.shape) for values in found])
    config = EventConfig if network is EventTier else SceneConfig
    tier = network(config(precision="float32"), WeightSource())
    tier.loaded = LoadedNetwork(Means(), tier.network.transform, META, torch.float32)
    sent, upload = [], Transfers.upload
    monkeypatch.setattr(Transfers, "upload", lambda self, tensors: (sent.extend(tensors), upload(self, tensors))[1])
    windows = make_windows()
    tier.compute(windows)
    assert len(sent) == (2 if network is EventTier else 1)
    sent.clear()
    with CountedOperations() as counted:
        tier.compute(upload_windows(windows, META))
    assert sent == []
    assert counted.names["stack"] == (network is SceneTier), "first frames are gathered there, clips are views"


@pytest.mark.parametrize(("network", "config"), [(EventTier, EventConfig), (SceneTier, SceneConfig)])
def test_numbers_are_the_same_bits_from_the_slab_or_not(network, config, on_cpu):
    tier = network(config(precision="float32"), WeightSource())
    build = (lambda: CSN((1, 1, 1, 1), "ip")) if network is EventTier else tier.network.build
    tier.loaded = LoadedNetwork(build().eval().requires_grad_(False), tier.network.transform, CPU, torch.float32)
    windows = [*make_windows(32), Window(make_windows(32)[0].frames[:3])]
    found, expected = tier.compute(on_cpu(windows)), tier.compute(windows)
    for a, b in zip(found, expected, strict=True):
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[name].value, b[name].value) and a[name].weight == b[name].weight for name in a)


def test_frames_are_taken_after_the_lead(on_cpu):
    (window,) = on_cpu(make_windows()[3:])
    for start, stop in ((0, None), (0, 1), (3, 7)):
        there = take_frames(window, start, stop)
        assert np.array_equal(there.tensor.numpy(), window.frames[start:stop])
        assert shape_of(there) == window.frames[start:stop].shape
    assert np.array_equal(first_of(take_frames(window)).tensor.numpy(), window.frames[0])
    assert np.array_equal(first_of(window.frames), window.frames[0])


@pytest.mark.parametrize("where", [lambda frames: frames, lambda frames: Upload(torch.from_numpy(frames))])
def test_short_clips_repeat_their_last_frame_and_long_ones_stay(where):
    frames = where(np.arange(3 * 2 * 2 * 3, dtype=np.uint8).reshape(3, 2, 2, 3))
    longer = repeat_last_frame(frames, 5)
    values = longer if isinstance(longer, np.ndarray) else longer.tensor.numpy()
    assert values[:, 0, 0, 0].tolist() == [0, 12, 24, 24, 24]
    assert repeat_last_frame(frames, 3) is frames


def test_tensors_are_joined_without_a_copy_where_they_lie_at_equal_distances():
    memory = torch.arange(24)
    rows = list(memory.view(6, 4))
    for chosen in (rows, rows[:1], rows[1::2], [row[1:] for row in rows]):
        joined = join_tensors(chosen)
        assert torch.equal(joined, torch.stack(chosen))
        assert joined.data_ptr() == chosen[0].data_ptr()
    for chosen in ([rows[0], rows[1], rows[3]], [rows[2], rows[1]], [rows[0], rows[0].clone()]):
        joined = join_tensors(chosen)
        assert torch.equal(joined, torch.stack(chosen))
        assert joined.data_ptr() != chosen[0].data_ptr()


def test_a_csn_s_clips_cannot_be_padded_in_time():
    """Why lengths do not share a batch: black frames after a clip change the features of the frames before them."""
    network = CSN((1, 1, 1, 1), "ip").eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.constant_(module.bias, 0.1)
    early = nn.Sequential(network.stem, network.layer1, network.layer2)
    clip = torch.rand(1, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        alone, padded = map(early, (clip, nn.functional.pad(clip, (0, 0, 0, 0, 0, 8))))
    assert torch.allclose(padded[:, :, :3], alone[:, :, :3], atol=1e-6), "far from the end"
    assert not torch.allclose(padded[:, :, :4], alone[:, :, :4], atol=1e-3)


def test_frames_are_shrunk_to_a_network_s_size_and_not_touched_without_one():
    """Each pixel of half the size is the mean of the four that it covers, which are alike here: none is rounded."""
    small = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    window = Window(small.repeat(2, axis=1).repeat(2, axis=2))
    assert np.shares_memory(take_shrunk_frames(window, None), window.frames)
    assert np.shares_memory(take_shrunk_frames(window, 8, stop=1), window.frames)
    assert np.array_equal(take_shrunk_frames(window, 4), small)
    assert np.array_equal(take_shrunk_frames(window, 4, stop=1), small[:1])
