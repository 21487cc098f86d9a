"""Small trials: a clip of ten frames is encoded and decoded, and a small network computed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from m3ray.commands.findings import Finding

_FRAMES, _SIZE, _RATE = 10, 64, 10


def try_decoding() -> Iterator[Finding]:
    """Encode ten frames, grey that grows lighter, and decode them in the sandbox."""
    from m3ray.config import DecodeConfig, LimitsConfig
    from m3ray.video.encode import encode_clip
    from m3ray.video.sandbox import Decoder

    begun = time.perf_counter()
    levels = np.linspace(20, 220, _FRAMES).astype(np.uint8)
    pictures = np.broadcast_to(levels[:, None, None, None], (_FRAMES, _SIZE, _SIZE, 3)).copy()
    decoder = Decoder(DecodeConfig(fps=float(_RATE)), LimitsConfig())
    try:
        frames = np.concatenate([window for _, window in decoder.windows(encode_clip(pictures, _RATE, None))])
    finally:
        decoder.close()
    means = frames.reshape(len(frames), -1).mean(axis=1)
    sound = len(frames) == _FRAMES and bool((np.diff(means) > 0).all())
    text = f"{len(frames)} of {_FRAMES} frames of a drawn clip decoded, {time.perf_counter() - begun:.1f} s"
    mend = "" if sound else "pip install --force-reinstall --no-deps av"
    yield Finding("self-test: decoding", "ok" if sound else "missing", text, mend, essential=True)


def try_network() -> Iterator[Finding]:
    """Compute a convolution on what jobs would compute on."""
    import torch

    begun = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # An image of ones through a kernel of ones: 27 products each.
    network = torch.nn.Conv2d(3, 2, 3, bias=False, device=device)
    torch.nn.init.ones_(network.weight)
    with torch.inference_mode():
        out = network(torch.ones(1, 3, 16, 16, device=device))
    sound = bool(torch.allclose(out.cpu(), torch.full((1, 2, 14, 14), 27.0)))
    text = f"a convolution on {device.type}, {time.perf_counter() - begun:.1f} s"
    mend = "" if sound else "pip install --force-reinstall torch"
    yield Finding("self-test: network", "ok" if sound else "missing", text, mend, essential=True)
