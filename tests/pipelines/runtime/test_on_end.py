"""What is called at a job's end: a real command, a real server; what fails there changes nothing, no secret is kept."""

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from m3ray.config.options import ExtractOptions
from m3ray.errors import ConfigError, JobFailedError, RootBusyError
from m3ray.pipelines.runtime import on_end
from m3ray.pipelines.runtime.job import run_job
from m3ray.pipelines.runtime.on_end import call_target, redact_target
from m3ray.storage.dataset_record import SETTINGS

SECRET = "T0SECRET/B0SECRET/xyzSECRET"


class Server(HTTPServer):
    """Keeps what is posted to it; answers the statuses of `answers` in turn, then 200."""

    def __init__(self, *answers):
        self.answers, self.got = list(answers), []
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}/services/{SECRET}?token=SECRET"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server: Any = self.server
        server.got.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(server.answers.pop(0) if server.answers else 200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setattr(on_end.time, "sleep", lambda seconds: None)
    servers = []

    def start(*answers):
        servers.append(Server(*answers))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def options(folder, **others):
    return ExtractOptions(out=str(folder / "o"), **others)


def texts_of(folder):
    return "\n".join(path.read_text() for path in (folder / "o").rglob("*") if path.is_file())


def call_and_collect(target, event=None, **environment):
    lines = []
    call_target(target, event or {"event": "done"}, environment, lines.append)
    return lines


# A command.


def test_a_command_gets_the_last_event_and_who_it_is_for(tmp_path, capsys):
    command = (
        f'cat > "{tmp_path}/got.json"; echo "$M3RAY_STATUS $M3RAY_RUN $M3RAY_ROOT" > {tmp_path}/env; '
        f'cp "$M3RAY_ROOT/runs/$M3RAY_RUN/summary.json" {tmp_path}/summary.json'
    )
    with run_job("extract", options(tmp_path, on_end=command)) as job:
        job.set_outcome(5, 1)
    event = json.loads((tmp_path / "got.json").read_text())
    assert (event["event"], event["status"], event["clips"], event["rejected"]) == ("done", "partial", 5, 1)
    status, run, root = (tmp_path / "env").read_text().split()
    assert (status, root) == ("partial", str(tmp_path / "o"))
    assert (tmp_path / "o" / "runs" / run).is_dir()
    assert event["run"] == run
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "partial", "the record is final by then"
    assert capsys.readouterr().out.splitlines()[-1].startswith("extract: result: partial: 1 of 5 clips rejected")


@pytest.mark.parametrize(("error", "status"), [(KeyError("x"), "failed"), (KeyboardInterrupt(), "stopped")])
def test_it_is_called_however_the_job_ended(tmp_path, error, status):
    with (
        pytest.raises((JobFailedError, KeyboardInterrupt)),
        run_job("extract", options(tmp_path, on_end=f'printf "$M3RAY_STATUS" > {tmp_path}/status')),
    ):
        raise error
    assert (tmp_path / "status").read_text() == status


def test_a_root_in_use_is_a_failure_of_which_there_is_no_run(tmp_path):
    with run_job("train", options(tmp_path)):
        command = f'printf "$M3RAY_STATUS:$M3RAY_RUN" > {tmp_path}/status'
        with pytest.raises(RootBusyError), run_job("extract", options(tmp_path, on_end=command)):
            pass
    assert (tmp_path / "status").read_text() == "failed:"


def test_a_dry_run_calls_nobody(tmp_path):
    with run_job("extract", options(tmp_path, dry_run=True, on_end=f"touch {tmp_path}/called")):
        pass
    assert list(tmp_path.iterdir()) == []


def test_its_failure_is_a_line_and_no_more(tmp_path, capsys):
    with run_job("extract", options(tmp_path, on_end="echo first >&2; echo why http://h/SECRET >&2; exit 3")):
        pass
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "on-end: the command: exit status 3 (why http://h/***); the job's result stays",
        "extract: result: success: done",
    ]
    (log,) = (tmp_path / "o" / "runs").glob("*/log.txt")
    assert "on-end: the command: exit status 3" in log.read_text()
    assert log.read_text().splitlines()[-1].endswith("extract: result: success: done")
    assert "SECRET" not in texts_of(tmp_path)


def test_a_command_that_does_not_end_is_killed_with_all_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(on_end, "_COMMAND_SECONDS", 0.5)
    start = time.monotonic()
    (line,) = call_and_collect(f"sleep 300 & echo $! > {tmp_path}/pid; sleep 300")
    assert "took more than" in line
    assert time.monotonic() - start < 10
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat").read_text().split()[2] if Path(f"/proc/{pid}").exists() else "gone"
        if state in ("gone", "Z"):
            break
        time.sleep(0.05)
    assert state in ("gone", "Z")


def test_what_it_leaves_running_is_not_waited_for(tmp_path):
    start = time.monotonic()
    assert call_and_collect(f"sleep 30 & echo $! > {tmp_path}/pid") == []
    assert time.monotonic() - start < 10
    os.kill(int((tmp_path / "pid").read_text()), 9)


# A webhook.


def test_an_address_is_posted_to_and_stands_nowhere(tmp_path, serve, capsys):
    server = serve()
    with run_job("extract", options(tmp_path, on_end=server.address)):
        pass
    ((path, kind, event),) = server.got
    assert path == f"/services/{SECRET}?token=SECRET"
    assert kind == "application/json"
    assert (event["event"], event["status"], event["root"]) == ("done", "success", str(tmp_path / "o"))
    assert event["text"] == "extract: result: success: done", "what a chat server shows"
    (config,) = (tmp_path / "o" / "runs").glob("*/config.json")
    assert json.loads(config.read_text())["options"]["on_end"] == "http://127.0.0.1/***"
    assert "SECRET" not in texts_of(tmp_path) + capsys.readouterr().out


@pytest.mark.parametrize(
    ("answers", "tries", "words"),
    [
        ((500, 503), 3, None),
        ((429,), 2, None),
        ((500, 500, 500), 3, "answered 500, 3 times"),
        ((404,), 1, "answered 404"),
    ],
)
def test_what_may_pass_is_tried_three_times(serve, answers, tries, words):
    server = serve(*answers)
    lines = call_and_collect(server.address)
    assert len(server.got) == tries
    assert lines == ([] if words is None else [f"on-end: http://127.0.0.1/***: {words}; the job's result stays"])


def test_nobody_there_is_a_line_without_the_secret(serve):
    server = serve()
    address = server.address
    server.shutdown()
    server.server_close()
    (line,) = call_and_collect(address)
    assert "cannot be reached (" in line
    assert "refused" in line
    assert "SECRET" not in line


def test_a_server_that_does_not_answer_does_not_hold_the_job(monkeypatch, serve):
    import socket

    monkeypatch.setattr(on_end, "_POST_SECONDS", 0.2)
    serve()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        (line,) = call_and_collect(f"http://127.0.0.1:{silent.getsockname()[1]}/SECRET")
    assert "timed out" in line or "did not answer" in line
    assert "SECRET" not in line
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "target", ["https://", "http:///path", "https://h/a b", "https://[x/SECRET", "ftp://h/SECRET", " "]
)
def test_an_address_that_is_none_is_refused_at_once(tmp_path, target):
    with pytest.raises(ConfigError, match="--on-end") as caught, run_job("extract", options(tmp_path, on_end=target)):
        pass
    assert "SECRET" not in str(caught.value)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("https://hooks.slack.com/services/T0/B0/xyz", "https://hooks.slack.com/***"),
        ("HTTPS://user:pass@host:8443/x?y=z", "https://host/***"),
        ("TOKEN=abc notify.sh https://h/x", "a command (it may hold secrets: not kept)"),
    ],
)
def test_what_is_kept_of_it(target, kept):
    assert redact_target(target) == kept


def test_a_root_does_not_keep_what_concerns_one_run_alone():
    assert {"on_end", "stall_minutes"}.isdisjoint(SETTINGS)
