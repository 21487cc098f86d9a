"""Errors by class: of a clip, of the storage and the rights to it, of the request. The one table that all go by.

A clip's own error is a reject. A fault of the storage says nothing of the clip: it is tried again, waited for, and
never a reject for good. An error of the request ends a job at once, before anything is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from m3ray.errors import DecodeError
from m3ray.schema import STORAGE_FAILED
from m3ray.storage.secrets import redacted

Kind = Literal["clip", "storage", "request"]
_PASSING, _LASTING, _OF_THE_OBJECT = 5, 2, 1


@dataclass(frozen=True)
class Fault:
    """An error, and what is to be done.

    Args:
        code: the name it has in its source.
        kind: its class.
        source: whose name that is.
        advice: what to do next.
        attempts: how often one clip is tried before others are looked at; 1: the fault is of that object alone.
        status: of the HTTP answer, if it is one.
    """

    code: str
    kind: Kind
    source: str
    advice: str
    attempts: int = 1
    status: int | None = None

    @property
    def name(self) -> str:
        """As it is shown: `403 AccessDenied`."""
        return self.code if self.status is None else f"{self.status} {self.code}"


class StorageFault(DecodeError):
    """A clip could not be read for a reason that says nothing of it.

    Args:
        fault: from the table.
        message: in words, the fault's name first.
    """

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(STORAGE_FAILED, message, stage="read")
        self.fault = fault


def _clip(code: str, advice: str) -> Fault:
    return Fault(code, "clip", "m3ray", advice)


def _request(code: str, advice: str) -> Fault:
    return Fault(code, "request", "m3ray", advice)


def _passing(code: str, source: str, advice: str, status: int | None = None) -> Fault:
    return Fault(code, "storage", source, advice, _PASSING, status)


def _lasting(code: str, source: str, advice: str, status: int | None = None) -> Fault:
    return Fault(code, "storage", source, advice, _LASTING, status)


S3, AZURE, POSIX, CLIENT = "S3", "Azure", "POSIX", "the client"
_RIGHTS = "check the role's policy, and the bucket's"
_KEYS = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give a role"
_TOKEN = "renew the session, or give the nodes a role, whose token renews itself"
_LATER = "nothing: it passes; if it lasts, run fewer actors"
_REGION = "set AWS_REGION to the bucket's region"
_RESTORE = "restore the object from its archive, or leave the clip out"
_NETWORK = "check the network, the endpoint and its certificate"
_MOUNT = "check the mount and its server"
_COPY = "copy or convert it again"

FAULTS = (
    # A clip's own: a row in rejects/.
    _clip("missing_file", "bring the file back, or drop its row"),
    _clip("not_a_file", "name a file, not a folder, a pipe or a device"),
    _clip("too_many_bytes", "raise limits.max-bytes"),
    _clip("unreadable_file", "the message says why; a loop of links, a socket, a name that is too long"),
    _clip("unreadable_key", "copy the object to a key without empty parts, . and .."),
    _clip("link_outside", "copy the file into the folder"),
    _clip("empty_file", _COPY),
    _clip("not_a_video", "drop it"),
    _clip("no_video_stream", "drop it"),
    _clip("no_frames", _COPY),
    _clip("truncated", _COPY),
    _clip("damaged", _COPY),
    _clip("unreadable", _COPY),
    _clip("too_large", "raise limits.max-pixels"),
    _clip("too_long", "raise limits.max-seconds"),
    _clip("timed_out", "raise limits.decode-seconds"),
    _clip("out_of_memory", "raise limits.memory-mb"),
    _clip("decoder_crashed", _COPY),
    _clip("decoder_error", "the message says why"),
    _clip("worker_crashed", "Ray's logs tell whether it was memory"),
    # Of the storage and the rights to it: waited for, then a row that the next job tries again by itself.
    _lasting("AccessDenied", S3, _RIGHTS, 403),
    _lasting("AllAccessDisabled", S3, _RIGHTS, 403),
    _lasting("AccountProblem", S3, "ask AWS about the account", 403),
    _lasting("InvalidAccessKeyId", S3, _KEYS, 403),
    _lasting("SignatureDoesNotMatch", S3, _KEYS, 403),
    _lasting("ExpiredToken", S3, _TOKEN, 400),
    _lasting("InvalidToken", S3, _TOKEN, 400),
    _lasting("TokenRefreshRequired", S3, _TOKEN, 400),
    _lasting("RequestTimeTooSkewed", S3, "set the node's clock (chrony, ntpd)", 403),
    _lasting("RequestExpired", S3, "set the node's clock (chrony, ntpd)", 400),
    Fault("InvalidObjectState", "storage", S3, _RESTORE, _OF_THE_OBJECT, 403),
    _lasting("NoSuchBucket", S3, "check the bucket's name and the endpoint", 404),
    _lasting("PermanentRedirect", S3, _REGION, 301),
    _lasting("AuthorizationHeaderMalformed", S3, _REGION, 400),
    _lasting("KMS", S3, "give the role kms:Decrypt on the bucket's key", 400),
    _passing("TemporaryRedirect", S3, "nothing: the bucket is new, it passes within minutes", 307),
    _passing("SlowDown", S3, _LATER, 503),
    _passing("ServiceUnavailable", S3, _LATER, 503),
    _passing("RequestLimitExceeded", S3, _LATER, 503),
    _passing("InternalError", S3, _LATER, 500),
    _passing("RequestTimeout", S3, _LATER, 400),
    _lasting("AuthenticationFailed", AZURE, "check the account's key or the node's identity", 403),
    _lasting("AuthorizationFailure", AZURE, "check the account's network rules", 403),
    _lasting("AuthorizationPermissionMismatch", AZURE, "give the identity Storage Blob Data Reader", 403),
    _lasting("ContainerNotFound", AZURE, "check the container's name", 404),
    Fault("BlobArchived", "storage", AZURE, _RESTORE, _OF_THE_OBJECT, 409),
    _passing("ServerBusy", AZURE, _LATER, 503),
    _lasting("NoCredentials", CLIENT, "give the node a role, or set the keys in its environment"),
    _passing("ConnectionFailed", CLIENT, _NETWORK),
    _passing("TimedOut", CLIENT, _NETWORK),
    _passing("StorageError", CLIENT, "the message says what the storage answered"),
    _lasting("EACCES", POSIX, "check the rights of the file and of the folders above it"),
    _lasting("EPERM", POSIX, "check the rights of the file and of the folders above it"),
    _lasting("EROFS", POSIX, "mount it for writing"),
    _lasting("ENOSPC", POSIX, "make room on the disk"),
    _lasting("EDQUOT", POSIX, "raise the quota"),
    _passing("EIO", POSIX, _MOUNT),
    _passing("ESTALE", POSIX, "mount it again"),
    _passing("ENOTCONN", POSIX, "mount it again"),
    _passing("EREMOTEIO", POSIX, _MOUNT),
    _passing("ENODEV", POSIX, _MOUNT),
    _passing("ETIMEDOUT", POSIX, _MOUNT),
    _passing("EHOSTDOWN", POSIX, _MOUNT),
    _passing("EHOSTUNREACH", POSIX, _MOUNT),
    _passing("ENETUNREACH", POSIX, _MOUNT),
    _passing("ECONNRESET", POSIX, _MOUNT),
    _passing("ECONNREFUSED", POSIX, _MOUNT),
    _passing("EMFILE", POSIX, "raise the limit of open files (ulimit -n)"),
    _passing("ENFILE", POSIX, "raise the limit of open files (fs.file-max)"),
    _passing("ENOMEM", POSIX, "run fewer actors a node"),
    # Of the request: exit status 2, before the first clip.
    _request("secret_in_uri", "give credentials through the environment or a role, and s3:// instead of a signed URL"),
    _request("unknown_scheme", "copy the videos to a local folder or s3://, or use gs://, az:// or https://"),
    _request("empty_part", "write the URI with single slashes"),
    _request("no_such_place", "check the name, the rights and the network"),
)
BY_CODE = {fault.code: fault for fault in FAULTS}


def is_passing(fault: Fault) -> bool:
    """Whether a few seconds may mend it: throttling, a server's error, a broken connection."""
    return fault.kind == "storage" and fault.attempts == _PASSING


def told(fault: Fault, where: str) -> str:
    """A fault in one line: its name, where, and what to do. Holds no secret."""
    return f"{fault.name} on {redacted(where)}: {fault.advice}"


def as_markdown() -> str:
    """The table as it stands in docs/errors.md."""
    lines = ["| class | error | source | tries of one clip | what to do |", "|---|---|---|---|---|"]
    for f in FAULTS:
        tries = str(f.attempts) if f.kind == "storage" else ""
        lines.append(f"| {f.kind} | `{f.name}` | {f.source} | {tries} | {f.advice} |")
    return "\n".join(lines)
