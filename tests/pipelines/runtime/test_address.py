"""A cluster that does not answer is told in seconds, by the name of the variable that points to it."""

import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from m3ray.errors import ClusterError
from m3ray.pipelines.runtime import address
from m3ray.pipelines.runtime.address import check_address, read_address
from m3ray.storage.secrets import redact

TOP = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch, tmp_path):
    monkeypatch.setattr(address, "_CONNECT_SECONDS", 0.0)
    monkeypatch.setattr(address, "_ANSWER_SECONDS", 1.0)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_USE_TLS"):
        monkeypatch.delenv(name, raising=False)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def mute_listener():
    """Accepts connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        threading.Thread(target=lambda: _accept(server), daemon=True).start()
        yield server.getsockname()[1]


def _accept(server):
    connections = []
    while True:
        try:
            connections.append(server.accept())
        except OSError:
            return


@contextmanager
def control_service(token=None):
    """Answers as a cluster's control service does: the call, and whose token it wants."""

    def answer(request, context):
        if token is not None and ("authorization", f"Bearer {token}") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
        return b""

    handler = grpc.method_handlers_generic_handler(
        "ray.rpc.NodeInfoGcsService", {"CheckAlive": grpc.unary_unary_rpc_method_handler(answer)}
    )
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


def test_which_cluster_is_meant(monkeypatch):
    for value, meant in (("", None), ("local", None), (" 10.0.0.1:6379 ", "10.0.0.1:6379"), ("auto", "auto")):
        monkeypatch.setenv("RAY_ADDRESS", value)
        assert read_address() == meant
    monkeypatch.delenv("RAY_ADDRESS")
    assert read_address() is None
    check_address(None)
    check_address("auto")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nonsense", "RAY_ADDRESS=nonsense is no address: expected host:port"),
        ("10.0.0.1:99999", "is no address"),
        ("no.such.machine.invalid:6379", "no machine is called no.such.machine.invalid"),
        ("http://127.0.0.1:8265", "is where jobs are submitted"),
    ],
)
def test_an_address_that_cannot_be_one_is_named(target, words):
    with pytest.raises(ClusterError) as caught:
        check_address(target)
    assert words in str(caught.value)
    assert "unset RAY_ADDRESS" in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("ray://u:hush@h:1", "RAY_ADDRESS=ray://***@h:1: Ray takes no user"),
        ("u:hush@h:1", "RAY_ADDRESS=***@h:1: Ray takes no user"),
        ("u:hu@sh@h:1", "RAY_ADDRESS=***@h:1: Ray takes no user"),
        ("ray://h:1?token=hush", "RAY_ADDRESS=ray://*** is no address"),
        ("https://u:hush@h:8265", "RAY_ADDRESS=https://*** is where jobs are submitted"),
        ("grpc://u:hush/x@h:1", "RAY_ADDRESS=grpc://***@h:1: Ray takes no user"),
    ],
)
def test_a_password_in_an_address_is_never_shown_nor_asked_for(target, message, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("asked a name server"))
    with pytest.raises(ClusterError) as caught:
        check_address(target)
    assert message in str(caught.value)
    assert "hu" not in str(caught.value)
    assert redact(str(caught.value)).startswith(message.partition("://")[0]), "as the job's last line says it"
    assert ": Ray" not in message or ": Ray takes" in redact(str(caught.value))


def test_a_cluster_that_is_gone():
    port = free_port()
    for target in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", f"localhost:{port}"):
        with pytest.raises(ClusterError, match=f"RAY_ADDRESS={target}: no Ray cluster answers there"):
            check_address(target)


def test_what_listens_and_is_no_cluster():
    with mute_listener() as port, pytest.raises(ClusterError, match="does not answer as a Ray cluster"):
        check_address(f"127.0.0.1:{port}")
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with pytest.raises(ClusterError, match="what answers there is no Ray cluster"):
        check_address(f"127.0.0.1:{port}")
    server.stop(None)


def test_a_cluster_that_answers(monkeypatch, tmp_path):
    with control_service() as port:
        check_address(f"127.0.0.1:{port}")
    with control_service("right") as port:
        with pytest.raises(ClusterError, match="wants a token and refuses this one's, or its lack: set RAY_AUTH_MODE"):
            check_address(f"127.0.0.1:{port}")
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
        with pytest.raises(ClusterError, match="wants a token"):
            check_address(f"127.0.0.1:{port}")
        monkeypatch.setenv("RAY_AUTH_TOKEN", "right")
        check_address(f"127.0.0.1:{port}")
        monkeypatch.delenv("RAY_AUTH_TOKEN")
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("right\n")
        check_address(f"127.0.0.1:{port}")
        monkeypatch.delenv("RAY_AUTH_MODE")  # Ray then sends no token, though it has one
        with pytest.raises(ClusterError, match="wants a token"):
            check_address(f"127.0.0.1:{port}")
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        with pytest.raises(ClusterError, match="wants a token"):
            check_address(f"127.0.0.1:{port}")


def test_a_cluster_that_comes_up_a_moment_later_is_waited_for(monkeypatch):
    monkeypatch.setattr(address, "_CONNECT_SECONDS", 10.0)
    port = free_port()

    def later():
        time.sleep(1.5)
        server = grpc.server(ThreadPoolExecutor(1))
        handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"")
        services = grpc.method_handlers_generic_handler("ray.rpc.NodeInfoGcsService", {"CheckAlive": handler})
        server.add_generic_rpc_handlers((services,))
        server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        time.sleep(5)
        server.stop(None)

    thread = threading.Thread(target=later)
    thread.start()
    check_address(f"127.0.0.1:{port}")
    thread.join()


def test_a_job_on_a_dead_cluster_says_so_in_one_line(tmp_path):
    """The case of the bug report: 14 minutes of Ray's warnings and a traceback."""
    import os

    target = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "jobs/extract.py", "--dataset", "demo", "--limit", "2", "--out", str(tmp_path / "o")]
    environment = {**os.environ, "RAY_ADDRESS": target}
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: RAY_ADDRESS={target}: ")
    assert not (tmp_path / "o").exists()
