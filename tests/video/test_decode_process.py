"""The decoding child by its protocol: lines of JSON, each followed by as many bytes as its `payload` says."""

import json
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.video import decode_process


@pytest.fixture(scope="module")
def child():
    command = [sys.executable, "-m", decode_process.__name__, "4096"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.stdin.close()
        assert process.wait(20) == 0, "it ends when nobody can send it anything any more"


def send(child, data, **changes):
    request = {
        "payload": len(data),
        "decode": asdict(DecodeConfig(size=64, window_frames=8)),
        "limits": asdict(LimitsConfig()),
        "extent": "all",
        "decoder": "pyav",
        "threads": 1,
    }
    child.stdin.write(json.dumps(request | changes).encode() + b"\n" + data)
    child.stdin.flush()


def receive(child):
    header = json.loads(child.stdout.readline())
    return header, child.stdout.read(header["payload"])


def receive_all(child):
    """The messages of an answer, those that only say that the child is alive left out."""
    messages = [receive(child)]
    while not {"end", "reason"} & messages[-1][0].keys():
        messages.append(receive(child))
    return [message for message in messages if "alive" not in message[0]]


def test_an_answer_is_windows_with_metadata_and_an_end(child, clip_bytes):
    send(child, clip_bytes)
    *windows, (end, payload) = receive_all(child)
    assert [header["shape"] for header, _ in windows] == [[8, 64, 64, 3], [8, 64, 64, 3], [4, 64, 64, 3]]
    assert all(len(data) == np.prod(header["shape"]) for header, data in windows)
    assert windows[0][0]["metadata"]["frames"] == 20
    assert end["end"] is True
    assert end["isolated"] in (True, False)
    assert payload == b""


def test_a_clip_that_is_none_has_a_reason_and_the_next_one_is_served(child, clip_bytes):
    send(child, b"no video at all")
    ((header, _),) = receive_all(child)
    assert (header["reason"], header["stage"]) == ("not_a_video", "sniff")
    send(child, clip_bytes, extent="first_frame")
    (header, _), (end, _) = receive_all(child)
    assert header["shape"] == [1, 64, 64, 3]
    assert end["end"] is True


def test_an_unexpected_error_is_an_answer_too(child, clip_bytes):
    send(child, clip_bytes, decode=asdict(DecodeConfig(fps=0)))
    *_, (header, _) = receive_all(child)
    assert header["reason"] == "decoder_error"
    assert header["message"].startswith("ZeroDivisionError")


def test_a_stop_that_comes_too_late_is_ignored(child, clip_bytes):
    send(child, clip_bytes, extent="first_frame")
    receive_all(child)
    child.stdin.write(decode_process.STOP)
    send(child, clip_bytes, extent="first_frame")
    assert len(receive_all(child)) == 2


def test_the_child_does_without_arrow_and_torch():
    """Its memory is limited by address space, of which these libraries reserve much, and they take seconds to load."""
    script = "import sys, m3ray.video.decode; print(sorted({'pyarrow', 'torch', 'pandas', 'ray'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout == "[]\n"
