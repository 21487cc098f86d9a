"""A faulty S3: moto's server on this machine, and a proxy before it that fails requests at random or by a script."""

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
    """Run moto's S3 in this process; yields its address."""
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
def patch_environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def upload(folder: Path, uri: str) -> None:
    """Upload a folder's files to S3, and create the bucket if it is missing."""
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

# From method and path to the fault that a request meets: a name of `ANSWERS`, `late`, `broken`, or None.
ChooseFault = Callable[[str, str], str | None]
Request = tuple[str, str]  # method and path

_DROPPED_REQUEST_HEADERS = {"host", "transfer-encoding", "expect", "content-length"}
_DROPPED_REPLY_HEADERS = {"transfer-encoding", "connection", "date", "server"}


@contextlib.contextmanager
def scripted_s3(choose: ChooseFault) -> Iterator[list[Request]]:
    """Run moto's S3 behind a proxy, in the environment of this process; yields the requests that came.

    Args:
        choose: Chooses the fault that each request meets.
    """
    requests: list[Request] = []
    with scripted_proxy(choose, requests) as (_, endpoint), patch_environment(s3_environment(endpoint)):
        yield requests


@contextlib.contextmanager
def scripted_proxy(choose: ChooseFault, requests: list[Request] | None = None) -> Iterator[tuple[str, str]]:
    """Run moto's S3 and a proxy before it; yields the address of each.

    Args:
        choose: Chooses the fault that each request meets.
        requests: Gets the requests that come; None forgets them.
    """
    with s3_server() as server, run_proxy(server, choose, [] if requests is None else requests) as endpoint:
        yield server, endpoint


@contextlib.contextmanager
def random_fault_proxy(server: str, rng: random.Random, share: float = 0.15) -> Iterator[tuple[str, list[str]]]:
    """Run a proxy that fails some requests; yields its address and the faults so far.

    Args:
        server: Address of the S3 server.
        rng: Source of the random choices.
        share: Share of the requests that fail.
    """
    faults: list[str] = []

    def choose(*_: str) -> str | None:
        if rng.random() >= share:
            return None
        faults.append(rng.choice(["500", "503", "late", "broken"]))
        return faults[-1]

    with run_proxy(server, choose, []) as endpoint:
        yield endpoint, faults


@contextlib.contextmanager
def run_proxy(server: str, choose: ChooseFault, requests: list[Request]) -> Iterator[str]:
    """Run a proxy before a server; yields its address.

    Args:
        server: Address of the S3 server.
        choose: Chooses the fault that each request meets.
        requests: Gets the requests that come.
    """
    settings = {"server_url": server, "choose": staticmethod(choose), "requests": requests}
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_ProxyHandler,), settings))
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()


class _ProxyHandler(BaseHTTPRequestHandler):
    """Forwards requests to a server, except for those that meet a fault."""

    protocol_version = "HTTP/1.1"
    server_url: str
    choose: ChooseFault
    requests: list[Request]

    def _serve(self) -> None:
        body = self._read_body()
        self.requests.append((self.command, self.path))
        fault = self.choose(self.command, self.path)
        if fault == "broken":
            self.close_connection = True
        elif fault is not None and fault != "late":
            status, code = ANSWERS[fault]
            self._answer(status, f"<Error><Code>{code}</Code></Error>".encode(), {})
        else:
            if fault == "late":
                time.sleep(random.uniform(0.5, 2))
            self._forward(body)

    def _forward(self, body: bytes) -> None:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _DROPPED_REQUEST_HEADERS}
        # Without a type urllib calls a body a form, which moto then takes apart.
        headers = {"Content-Type": "application/octet-stream", **headers} if body else headers
        request = urlrequest.Request(self.server_url + self.path, body or None, headers, method=self.command)
        try:
            with urlrequest.urlopen(request) as reply:
                self._answer(reply.status, reply.read(), dict(reply.headers))
        except HTTPError as error:
            self._answer(error.code, error.read(), dict(error.headers))

    def _read_body(self) -> bytes:
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
        is_head = self.command == "HEAD"
        dropped = _DROPPED_REPLY_HEADERS | (set() if is_head else {"content-length"})
        for name, value in headers.items():
            if name.lower() not in dropped:
                self.send_header(name, value)
        if not is_head:
            self.send_header("Content-Length", str(len(body)))
        elif not any(name.lower() == "content-length" for name in headers):
            self.send_header("Content-Length", "0")
        self.end_headers()
        if not is_head:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


for _method in ("GET", "PUT", "POST", "HEAD", "DELETE"):
    setattr(_ProxyHandler, f"do_{_method}", _ProxyHandler._serve)
