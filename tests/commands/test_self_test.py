"""The self-tests."""

from m3ray.commands.self_test import try_decoding, try_network
from m3ray.video import sandbox


def test_they_pass_here():
    (decoding,), (network,) = try_decoding(), try_network()
    assert (decoding.status, network.status) == ("ok", "ok")
    assert decoding.text.startswith("10 of 10 frames")


def test_a_decoder_that_gives_other_frames_is_noticed(monkeypatch):
    whole = sandbox.Decoder.windows
    monkeypatch.setattr(sandbox.Decoder, "windows", lambda *a, **k: ((m, f[::-1]) for m, f in whole(*a, **k)))
    (decoding,) = try_decoding()
    assert (decoding.status, decoding.essential) == ("missing", True)
