"""moto's S3 on this machine, and a proxy before it that answers 500, 503, late or not at all, or as it is told."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib import request as urlrequest
from urllib.error import HTTPError

from m3ray.storage.root import Root


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """moto's S3 in this process."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def s3_environment(endpoint: str) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "hush-hush", "AWS_REGION": "us-east-1"}
    return {**keys, "AWS_ENDPOINT_URL": endpoint}


@contextlib.contextmanager
def patched_environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def upload(folder: Path, uri: str) -> None:
    """A folder's files to S3, the bucket made where it lacks."""
    bucket = uri.removeprefix("s3://").partition("/")[0]
    urlrequest.urlopen(urlrequest.Request(f"{os.environ['AWS_ENDPOINT_URL']}/{bucket}", method="PUT"))
    root = Root(uri)
    for path in folder.rglob("*"):
        if path.is_file():
            root.write_bytes(path.read_bytes(), *path.relative_to(folder).parts)


# What a fault answers: status and S3's code.
ANSWERS = {
    "403": (403, "AccessDenied"),
    "500": (500, "InternalError"),
    "503": (503, "SlowDown"),
    "archived": (403, "InvalidObjectState"),
    "expired": (400, "ExpiredToken"),
    "skewed": (403, "RequestTimeTooSkewed"),
    "no bucket": (404, "NoSuchBucket"),
}


Choose = Callable[[str, str], str | None]


@contextlib.contextmanager
def told_s3(choose: Choose) -> Iterator[list[tuple[str, str]]]:
    """moto's S3 behind a proxy, in the environment of this process; yields the requests that came, method and path.

    Args:
        choose: from method and path to the fault that a request meets, a name of `ANSWERS`, or `late`, `broken`, None.
    """
    asked: list[tuple[str, str]] = []
    with told_proxy(choose, asked) as (_, endpoint), patched_environment(s3_environment(endpoint)):
        yield asked


@contextlib.contextmanager
def told_proxy(choose: Choose, asked: list[tuple[str, str]] | None = None) -> Iterator[tuple[str, str]]:
    """moto's S3 and a proxy before it: the address of each."""
    with s3_server() as server, _proxy(server, choose, [] if asked is None else asked) as endpoint:
        yield server, endpoint


@contextlib.contextmanager
def faulty(server: str, rng: random.Random, share: float = 0.15) -> Iterator[tuple[str, list[str]]]:
    """A proxy before `server` that fails some requests; the list says which way."""
    faults: list[str] = []

    def choose(*_: str) -> str | None:
        if rng.random() >= share:
            return None
        faults.append(rng.choice(["500", "503", "late", "broken"]))
        return faults[-1]

    with _proxy(server, choose, []) as endpoint:
        yield endpoint, faults


@contextlib.contextmanager
def _proxy(server: str, choose: Choose, asked: list[tuple[str, str]]) -> Iterator[str]:
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server, choose, asked))
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()


def _handler(server: str, choose: Choose, asked: list[tuple[str, str]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self._body()
            asked.append((self.command, self.path))
            kind = choose(self.command, self.path)
            if kind == "broken":
                self.close_connection = True
                return
            if kind == "late":
                time.sleep(random.uniform(0.5, 2))
            elif kind is not None:
                status, code = ANSWERS[kind]
                self._answer(status, f"<Error><Code>{code}</Code></Error>".encode(), {})
                return
            dropped = {"host", "transfer-encoding", "expect", "content-length"}
            headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
            # Without a type urllib calls a body a form, which moto then takes apart.
            headers = {"Content-Type": "application/octet-stream", **headers} if body else headers
            wanted = urlrequest.Request(server + self.path, body or None, headers, method=self.command)
            try:
                with urlrequest.urlopen(wanted) as reply:
                    self._answer(reply.status, reply.read(), dict(reply.headers))
            except HTTPError as error:
                self._answer(error.code, error.read(), dict(error.headers))

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            dropped = {"transfer-encoding", "connection", "date", "server"}
            dropped |= set() if self.command == "HEAD" else {"content-length"}
            for name, value in headers.items():
                if name.lower() not in dropped:
                    self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(body)))
            elif not any(name.lower() == "content-length" for name in headers):
                self.send_header("Content-Length", "0")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve

        def log_message(self, *_: object) -> None:
            pass

    return Handler
