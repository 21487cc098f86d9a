"""Checks of what lies elsewhere, against a server of our own."""

import http.server
import threading

import pytest

from m3ray.commands import reach
from m3ray.commands.reach import Reaching, check_ray_address, check_weights
from m3ray.tiers.backbones.weights import cache_path


@pytest.fixture
def server():
    """Answers /here, and 404 to anything else; keeps what it was sent."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            seen.append(dict(self.headers))
            self.send_response(200 if self.path == "/here" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}", seen
        made.shutdown()
        thread.join()


def test_what_answers_what_does_not_and_what_is_not_there(server):
    base, seen = server
    closed = "http://127.0.0.1:9/x"
    reaching = Reaching((f"{base}/here", f"{base}/gone", closed))
    assert reaching.find_failure(f"{base}/here") is None
    assert reaching.find_failure(f"{base}/gone") == "HTTP 404"
    assert "refused" in reaching.find_failure(closed)
    assert {headers["User-Agent"] for headers in seen} == {"m3ray"}


def test_weights_are_cached_or_reachable_or_neither(server, monkeypatch, tmp_path):
    monkeypatch.setenv("M3RAY_CACHE", str(tmp_path))
    base, _ = server
    monkeypatch.setattr(reach, "PUBLISHED", {"scene": f"{base}/gone", "event:ip": f"{base}/here"})
    scene, event = check_weights(reach.start_reaching())
    assert (scene.status, event.status) == ("warning", "ok")
    assert "HTTP 404" in scene.text
    assert "--weights FILE.json" in scene.mend
    cache_path(f"{base}/gone").parent.mkdir(parents=True, exist_ok=True)
    cache_path(f"{base}/gone").write_bytes(b"weights")
    scene, event = check_weights(None)
    assert scene.text.startswith("cached: ")
    assert "not tried" in event.text


def test_a_cluster_that_does_not_answer_is_a_warning_without_its_password(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (none,) = check_ray_address()
    assert none.status == "ok"
    monkeypatch.setenv("RAY_ADDRESS", "ray://user:secret@127.0.0.1:9")
    (dead,) = check_ray_address()
    assert dead.status == "warning"
    assert "secret" not in dead.text
