"""Whether a Ray cluster answers where RAY_ADDRESS points: asked by one call over gRPC, before Ray itself is imported.

Ray would try for a quarter of an hour, and say so again and again.
"""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path

import grpc  # type: ignore[import-untyped]

from m3ray.errors import ClusterError
from m3ray.storage.secrets import redacted

VARIABLE = "RAY_ADDRESS"
# A cluster that is just coming up is given this long.
_PATIENCE = 5.0
_ANSWER_SECONDS = 5.0
_CHECK = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_OURS = ("", "local")
_WAY_OUT = "start it (ray start --head), correct the address, or unset RAY_ADDRESS to work on this machine"


def given_address() -> str | None:
    """The cluster that RAY_ADDRESS names; None: one of our own is started."""
    address = os.environ.get(VARIABLE, "").strip()
    return None if address in _OURS else address


def check_address(address: str | None, *, source: str = f"{VARIABLE}=") -> None:
    """Asks the cluster at `address`, if it is one that can be asked.

    Args:
        address: host:port; `auto` is Ray's to find; None: no cluster is meant.
        source: of the address, what stands before it in the error.
    Raises:
        ClusterError: nothing answers there, or not Ray, or it refuses us; the address is named.
    """
    if address is None or address == "auto":
        return
    named = f"{source}{_without_user(address)}"
    if address.startswith(("http://", "https://")):
        raise ClusterError(
            f"{named} is where jobs are submitted, and this job would need a cluster's own address: run it as `ray job "
            "submit --working-dir . -- python jobs/...`, or unset RAY_ADDRESS to work on this machine"
        )
    host, port = _host_and_port(address.removeprefix("ray://"), named)
    deadline = time.monotonic() + _PATIENCE
    while (said := _refusal(host, port, ask=not address.startswith("ray://"))) is not None:
        if time.monotonic() > deadline or not said.again:
            raise ClusterError(f"{named}: {said.words}")
        time.sleep(1)


class _Refusal:
    """Why a cluster cannot be had, and whether a moment later it might."""

    def __init__(self, words: str, *, again: bool = False) -> None:
        self.words, self.again = words, again


def _without_user(address: str) -> str:
    """What may be shown: a password stands before the @, in whatever form, or in a parameter."""
    return redacted(re.sub(r"^([a-z]+://)?.*@", r"\1***@", address, flags=re.IGNORECASE | re.DOTALL))


def _host_and_port(address: str, named: str) -> tuple[str, int]:
    if "@" in address:  # to ask for that name would tell the password to a name server
        raise ClusterError(f"{named}: Ray takes no user and password there: expected host:port; {_WAY_OUT}")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ClusterError(f"{named} is no address: expected host:port, as in 10.0.0.1:6379; {_WAY_OUT}")
    return host.strip("[]"), int(port)


def _refusal(host: str, port: int, *, ask: bool) -> _Refusal | None:
    """None where Ray answers."""
    try:
        socket.create_connection((host, port), timeout=_ANSWER_SECONDS).close()
    except socket.gaierror as error:
        return _Refusal(f"no machine is called {host} ({error.strerror}): {_WAY_OUT}")
    except OSError as error:
        return _Refusal(f"no Ray cluster answers there ({error.strerror or error}): {_WAY_OUT}", again=True)
    # Behind TLS only Ray itself has the certificates.
    return _answer(f"[{host}]:{port}" if ":" in host else f"{host}:{port}") if ask and not _uses_tls() else None


def _uses_tls() -> bool:
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def _answer(target: str) -> _Refusal | None:
    """What the cluster's control service says to a call that changes nothing."""
    token = _token()
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        call = channel.unary_unary(_CHECK)
        try:
            call(b"", timeout=_ANSWER_SECONDS, metadata=[("authorization", f"Bearer {token}")] if token else [])
        except grpc.RpcError as error:
            return _refused(error)
    return None


def _refused(error: grpc.RpcError) -> _Refusal | None:
    code = error.code()
    if code == grpc.StatusCode.UNAUTHENTICATED:
        if _auth_mode() not in ("", "token", "disabled"):
            return None  # another kind of authentication, which Ray knows
        return _Refusal(
            "the cluster there wants a token and refuses this one's, or its lack: set RAY_AUTH_MODE=token and put the "
            "cluster's token into RAY_AUTH_TOKEN or ~/.ray/auth_token"
        )
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return _Refusal(f"what answers there is no Ray cluster: {_WAY_OUT}")
    return _Refusal(f"what listens there does not answer as a Ray cluster ({code.name.lower()}): {_WAY_OUT}")


def _auth_mode() -> str:
    return os.environ.get("RAY_AUTH_MODE", "").lower()


def _token() -> str | None:
    """The token that Ray would send, of the environment or else of its file; it sends none unless it is told to."""
    if _auth_mode() != "token":
        return None
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    try:
        return token_file().read_text().strip()
    except (OSError, RuntimeError, UnicodeDecodeError):
        return None


def token_file() -> Path:
    """Where Ray keeps its token."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
