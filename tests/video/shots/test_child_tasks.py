"""What the child answers to tasks: headers and bytes, in the order in which they are made."""

import numpy as np
import pytest
from drawn_films import draw_film, encode_film

from m3ray.config import LimitsConfig
from m3ray.video.shots.child_tasks import run_task


class Exchange:
    def __init__(self):
        self.sent = []

    def pulse(self):
        self.sent.append(("alive", 0))

    def send(self, header, payload=b""):
        self.sent.append((header, memoryview(payload).nbytes))


def test_frames_and_then_their_times():
    exchange, data = Exchange(), encode_film(draw_film(1, [10]))
    limits = vars(LimitsConfig())
    request = {"task": "every_frame", "limits": limits, "threads": 1, "height": 9, "width": 16}
    run_task(data, request, exchange)
    (frames, size), (times, length) = exchange.sent
    assert (frames["shape"], size) == ((10, 9, 16, 3), 10 * 9 * 16 * 3)
    assert (times["duration"], length) == (pytest.approx(0.4), 80)


def test_files_of_shots():
    exchange, data = Exchange(), encode_film(draw_film(1, [10]))
    run_task(data, {"task": "export", "limits": vars(LimitsConfig()), "threads": 1, "ranges": [[0, 10]]}, exchange)
    header, size = exchange.sent[-1]
    assert header == {"number": 0, "suffix": ".mp4", "how": "copied", "sound": False}
    assert size > 1000
    assert np.all([sent == ("alive", 0) for sent in exchange.sent[:-1]])
