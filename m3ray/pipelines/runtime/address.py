"""Check that a Ray cluster answers where RAY_ADDRESS points, by one call over gRPC before Ray itself is imported.

Ray would try for a quarter of an hour, and log that again and again.
"""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path

import grpc  # type: ignore[import-untyped]

from m3ray.errors import ClusterError
from m3ray.storage.secrets import redact

VARIABLE = "RAY_ADDRESS"
# Time for a cluster that is just coming up.
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 5.0
_CHECK = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_OWN_CLUSTER = ("", "local")
_ADVICE = "start it (ray start --head), correct the address, or unset RAY_ADDRESS to work on this machine"


def read_address() -> str | None:
    """Read the cluster's address from RAY_ADDRESS; None if the job is to start a cluster of its own."""
    address = os.environ.get(VARIABLE, "").strip()
    return None if address in _OWN_CLUSTER else address


def check_address(address: str | None, *, source: str = f"{VARIABLE}=") -> None:
    """Check that a Ray cluster answers at an address and accepts this process.

    Args:
        address: host:port; `auto` leaves it to Ray to find, and None is no cluster: neither is checked.
        source: where the address comes from, as the error shows it before the address.
    Raises:
        ClusterError: If nothing answers there, or not Ray, or it refuses this process; the address is named.
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
    deadline = time.monotonic() + _CONNECT_SECONDS
    while (refusal := _find_refusal(host, port, ask=not address.startswith("ray://"))) is not None:
        if time.monotonic() > deadline or not refusal.may_pass:
            raise ClusterError(f"{named}: {refusal.message}")
        time.sleep(1)


class _Refusal:
    """Why a cluster cannot be used, and whether that may pass within seconds."""

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        self.message, self.may_pass = message, may_pass


def _without_user(address: str) -> str:
    """The address as it may be shown: a password stands before the @, in whatever form, or in a parameter."""
    return redact(re.sub(r"^([a-z]+://)?.*@", r"\1***@", address, flags=re.IGNORECASE | re.DOTALL))


def _host_and_port(address: str, named: str) -> tuple[str, int]:
    if "@" in address:  # looking that name up would send the password to a name server
        raise ClusterError(f"{named}: Ray takes no user and password there: expected host:port; {_ADVICE}")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ClusterError(f"{named} is no address: expected host:port, as in 10.0.0.1:6379; {_ADVICE}")
    return host.strip("[]"), int(port)


def _find_refusal(host: str, port: int, *, ask: bool) -> _Refusal | None:
    """Why the cluster cannot be used; None where Ray answers."""
    try:
        socket.create_connection((host, port), timeout=_ANSWER_SECONDS).close()
    except socket.gaierror as error:
        return _Refusal(f"no machine is called {host} ({error.strerror}): {_ADVICE}")
    except OSError as error:
        return _Refusal(f"no Ray cluster answers there ({error.strerror or error}): {_ADVICE}", may_pass=True)
    # Behind TLS only Ray itself has the certificates.
    return (
        _call_control_service(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        if ask and not _uses_tls()
        else None
    )


def _uses_tls() -> bool:
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def _call_control_service(target: str) -> _Refusal | None:
    """Call the cluster's control service in a way that changes nothing; return why it refuses, if it does."""
    token = _read_token()
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        call = channel.unary_unary(_CHECK)
        try:
            call(b"", timeout=_ANSWER_SECONDS, metadata=[("authorization", f"Bearer {token}")] if token else [])
        except grpc.RpcError as error:
            return _explain_refusal(error)
    return None


def _explain_refusal(error: grpc.RpcError) -> _Refusal | None:
    code = error.code()
    if code == grpc.StatusCode.UNAUTHENTICATED:
        if _auth_mode() not in ("", "token", "disabled"):
            return None  # another kind of authentication, which Ray knows
        return _Refusal(
            "the cluster there wants a token and refuses this one's, or its lack: set RAY_AUTH_MODE=token and put the "
            "cluster's token into RAY_AUTH_TOKEN or ~/.ray/auth_token"
        )
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return _Refusal(f"what answers there is no Ray cluster: {_ADVICE}")
    return _Refusal(f"what listens there does not answer as a Ray cluster ({code.name.lower()}): {_ADVICE}")


def _auth_mode() -> str:
    return os.environ.get("RAY_AUTH_MODE", "").lower()


def _read_token() -> str | None:
    """Read the token that Ray would send, from the environment or its file; it sends none unless it is told to."""
    if _auth_mode() != "token":
        return None
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    try:
        return token_path().read_text().strip()
    except (OSError, RuntimeError, UnicodeDecodeError):
        return None


def token_path() -> Path:
    """Path of the file in which Ray keeps its token."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
