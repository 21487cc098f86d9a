"""The table of errors by class: those of a clip, of the storage and the rights to it, and of the request.

A clip's own error makes it a reject. A fault of the storage says nothing of the clip: it is retried and waited for, and
never rejects a clip permanently. An error of the request ends a job at once, before anything is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from m3ray.errors import DecodeError
from m3ray.schema import STORAGE_FAILED
from m3ray.storage.secrets import redact

Kind = Literal["clip", "storage", "request"]
_TRANSIENT_ATTEMPTS, _PERSISTENT_ATTEMPTS, _OBJECT_ATTEMPTS = 5, 2, 1


@dataclass(frozen=True)
class Fault:
    """A row of the table: an error, and what to do about it.

    Args:
        code: name of the error in its source.
        kind: class of the error: 'clip', 'storage' or 'request'.
        source: whose name that is, such as 'S3'.
        advice: what the user should do next.
        attempts: how often one clip is tried before other clips are checked; 1 if the fault concerns that object alone.
        status: HTTP status of the answer; None if it is no HTTP answer.
    """

    code: str
    kind: Kind
    source: str
    advice: str
    attempts: int = 1
    status: int | None = None

    @property
    def name(self) -> str:
        """Name as it is shown, such as `403 AccessDenied`."""
        return self.code if self.status is None else f"{self.status} {self.code}"


class StorageFaultError(DecodeError):
    """A clip could not be read for a reason that says nothing of the clip.

    Args:
        fault: row of the table.
        message: the fault in words, its name first.
    """

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(STORAGE_FAILED, message, stage="read")
        self.fault = fault


def _clip(code: str, advice: str) -> Fault:
    return Fault(code, "clip", "m3ray", advice)


def _request(code: str, advice: str) -> Fault:
    return Fault(code, "request", "m3ray", advice)


def _transient(code: str, source: str, advice: str, status: int | None = None) -> Fault:
    return Fault(code, "storage", source, advice, _TRANSIENT_ATTEMPTS, status)


def _persistent(code: str, source: str, advice: str, status: int | None = None) -> Fault:
    return Fault(code, "storage", source, advice, _PERSISTENT_ATTEMPTS, status)


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
    # A clip's own, which make a row in rejects/.
    _clip("missing_file", "bring the file back, or drop its row"),
    _clip("not_a_file", "name a file, not a folder, a pipe or a device"),
    _clip("too_many_bytes", "raise limits.max-bytes"),
    _clip("unreadable_file", "the message says why; a loop of links, a socket, a name that is too long"),
    _clip("unreadable_key", "copy the object to a key without empty parts, . and .."),
    _clip("link_outside", "copy the file into the folder"),
    _clip("empty_file", _COPY),
    _clip("not_a_video", "drop it"),
    _clip("unsupported_image", "convert it to JPEG, PNG, WebP or BMP"),
    _clip("no_video_stream", "drop it"),
    _clip("no_frames", _COPY),
    _clip("truncated", _COPY),
    _clip("damaged", _COPY),
    _clip("unreadable", _COPY),
    _clip("too_large", "raise limits.max-pixels, for an image limits.max-image-pixels"),
    _clip("too_long", "raise limits.max-seconds"),
    _clip("timed_out", "raise limits.decode-seconds"),
    _clip("out_of_memory", "raise limits.memory-mb; of stage tier: the message says what to lower"),
    _clip("decoder_crashed", _COPY),
    _clip("decoder_error", "the message says why"),
    _clip("worker_crashed", "Ray's logs tell whether it was memory"),
    # Of the storage and the rights to it, which are waited for, then make a row that the next job retries by itself.
    _persistent("AccessDenied", S3, _RIGHTS, 403),
    _persistent("AllAccessDisabled", S3, _RIGHTS, 403),
    _persistent("AccountProblem", S3, "ask AWS about the account", 403),
    _persistent("InvalidAccessKeyId", S3, _KEYS, 403),
    _persistent("SignatureDoesNotMatch", S3, _KEYS, 403),
    _persistent("ExpiredToken", S3, _TOKEN, 400),
    _persistent("InvalidToken", S3, _TOKEN, 400),
    _persistent("TokenRefreshRequired", S3, _TOKEN, 400),
    _persistent("RequestTimeTooSkewed", S3, "set the node's clock (chrony, ntpd)", 403),
    _persistent("RequestExpired", S3, "set the node's clock (chrony, ntpd)", 400),
    Fault("InvalidObjectState", "storage", S3, _RESTORE, _OBJECT_ATTEMPTS, 403),
    _persistent("NoSuchBucket", S3, "check the bucket's name and the endpoint", 404),
    _persistent("PermanentRedirect", S3, _REGION, 301),
    _persistent("AuthorizationHeaderMalformed", S3, _REGION, 400),
    _persistent("KMS", S3, "give the role kms:Decrypt on the bucket's key", 400),
    _transient("TemporaryRedirect", S3, "nothing: the bucket is new, it passes within minutes", 307),
    _transient("SlowDown", S3, _LATER, 503),
    _transient("ServiceUnavailable", S3, _LATER, 503),
    _transient("RequestLimitExceeded", S3, _LATER, 503),
    _transient("InternalError", S3, _LATER, 500),
    _transient("RequestTimeout", S3, _LATER, 400),
    _persistent("AuthenticationFailed", AZURE, "check the account's key or the node's identity", 403),
    _persistent("AuthorizationFailure", AZURE, "check the account's network rules", 403),
    _persistent("AuthorizationPermissionMismatch", AZURE, "give the identity Storage Blob Data Reader", 403),
    _persistent("ContainerNotFound", AZURE, "check the container's name", 404),
    Fault("BlobArchived", "storage", AZURE, _RESTORE, _OBJECT_ATTEMPTS, 409),
    _transient("ServerBusy", AZURE, _LATER, 503),
    _persistent("NoCredentials", CLIENT, "give the node a role, or set the keys in its environment"),
    _transient("ConnectionFailed", CLIENT, _NETWORK),
    _transient("TimedOut", CLIENT, _NETWORK),
    _transient("StorageError", CLIENT, "the message says what the storage answered"),
    _persistent("EACCES", POSIX, "check the rights of the file and of the folders above it"),
    _persistent("EPERM", POSIX, "check the rights of the file and of the folders above it"),
    _persistent("EROFS", POSIX, "mount it for writing"),
    _persistent("ENOSPC", POSIX, "make room on the disk"),
    _persistent("EDQUOT", POSIX, "raise the quota"),
    _transient("EIO", POSIX, _MOUNT),
    _transient("ESTALE", POSIX, "mount it again"),
    _transient("ENOTCONN", POSIX, "mount it again"),
    _transient("EREMOTEIO", POSIX, _MOUNT),
    _transient("ENODEV", POSIX, _MOUNT),
    _transient("ETIMEDOUT", POSIX, _MOUNT),
    _transient("EHOSTDOWN", POSIX, _MOUNT),
    _transient("EHOSTUNREACH", POSIX, _MOUNT),
    _transient("ENETUNREACH", POSIX, _MOUNT),
    _transient("ECONNRESET", POSIX, _MOUNT),
    _transient("ECONNREFUSED", POSIX, _MOUNT),
    _transient("EMFILE", POSIX, "raise the limit of open files (ulimit -n)"),
    _transient("ENFILE", POSIX, "raise the limit of open files (fs.file-max)"),
    _transient("ENOMEM", POSIX, "run fewer actors a node"),
    # Of the request, which end the job with exit status 2 before the first clip.
    _request("secret_in_uri", "give credentials through the environment or a role, and s3:// instead of a signed URL"),
    _request("unknown_scheme", "copy the videos to a local folder or s3://, or use gs://, az:// or https://"),
    _request("empty_part", "write the URI with single slashes"),
    _request("no_such_place", "check the name, the rights and the network"),
)
BY_CODE = {fault.code: fault for fault in FAULTS}


def is_transient(fault: Fault) -> bool:
    """Tell whether a fault may pass within seconds: throttling, an error of the server, a broken connection.

    Args:
        fault: row of the table.
    Returns:
        Whether it may.
    """
    return fault.kind == "storage" and fault.attempts == _TRANSIENT_ATTEMPTS


def describe_fault(fault: Fault, where: str) -> str:
    """Describe a fault in one line that holds no secret.

    Args:
        fault: row of the table.
        where: URI of the clip.
    Returns:
        Its name, where it occurred and what to do.
    """
    return f"{fault.name} on {redact(where)}: {fault.advice}"


def as_markdown() -> str:
    """Table of all errors in Markdown, as docs/errors.md has it."""
    lines = ["| class | error | source | tries of one clip | what to do |", "|---|---|---|---|---|"]
    for f in FAULTS:
        tries = str(f.attempts) if f.kind == "storage" else ""
        lines.append(f"| {f.kind} | `{f.name}` | {f.source} | {tries} | {f.advice} |")
    return "\n".join(lines)
