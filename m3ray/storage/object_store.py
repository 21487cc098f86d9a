"""Objects of S3 through obstore: reads of a whole object in one request, and conditional writes, which pyarrow lacks.

Endpoint, region and keys come from the environment, as in `filesystems`: static keys first, then a profile (through
boto3), then the role of the container or machine.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore import exceptions
from obstore.store import S3Store

from m3ray.errors import ConfigError, M3RayError
from m3ray.storage.fault_codes import classify_error
from m3ray.storage.filesystems import one_line, s3_location
from m3ray.storage.schemes import s3_access_options
from m3ray.storage.secrets import has_secret, redact
from m3ray.storage.server_answers import parse_server_answer

if TYPE_CHECKING:
    from obstore.store import S3CredentialProvider

_CLIP_SECONDS = 600.0  # for one request: a large clip over a slow line
_PROFILE_FILES = (("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), ("AWS_CONFIG_FILE", "~/.aws/config"))


class ChangedError(M3RayError):
    """A conditional write met another version of the object than the one it expected."""


@dataclass(frozen=True)
class StoredObject:
    """An object as it was read.

    Args:
        data: bytes of the object.
        size: size of the object, bytes.
        etag: entity tag of the version that was read; "" where the server gives none.
    """

    data: bytes
    size: int
    etag: str


def open_store(uri: str, *, seconds: float = _CLIP_SECONDS, retries: int = 5) -> tuple[S3Store, str]:
    """Open the store of an object's bucket, of which a process keeps one a bucket.

    Args:
        uri: `s3://bucket/key` of the object.
        seconds: time limit of a request, its body included, seconds.
        retries: how often the client tries again after status 5xx, throttling or a broken connection.
    Returns:
        The store, and the object's key in it.
    Raises:
        ConfigError: If the URI is none of S3 or carries credentials, or AWS_PROFILE names a profile that cannot be
            read.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or has_secret(uri):
        scheme = uri.partition("://")[0] if "://" in uri else "a local path"
        raise ConfigError(f"expected s3://bucket/key without credentials, got {scheme}: give a local folder or S3")
    endpoint, region = s3_location(bucket)
    access = tuple(s3_access_options(bucket).items())
    return _store(bucket, endpoint, region, access, _credentials_of_environment(), seconds, retries), key


def get_object(uri: str, *, seconds: float = _CLIP_SECONDS) -> StoredObject:
    """Read a whole object in one request.

    Args:
        uri: `s3://bucket/key` of the object.
        seconds: time limit of the request, seconds.
    Returns:
        The object's bytes and version.
    Raises:
        FileNotFoundError: If there is no such object or bucket.
        PermissionError: If the credentials do not give the right to read it.
        OSError: If the storage failed.
        ConfigError: If the key holds `.`, `..` or control characters, which pyarrow can read and obstore cannot.
    """
    store, key = open_store(uri, seconds=seconds)
    with _plain_errors(uri):
        reply = obstore.get(store, key)
        data = reply.bytes().to_bytes()
        return StoredObject(data, reply.meta["size"], reply.meta["e_tag"] or "")


def check_bucket(uri: str, option: str) -> None:
    """Check that the bucket of an `s3://` URI exists and that its endpoint answers.

    Args:
        uri: folder of which one key is listed.
        option: name of the option that gave the URI, for the message.
    Raises:
        ConfigError: If there is no such bucket, or no endpoint answers. Other faults, such as missing rights, are
            reported where they matter.
    """
    store, prefix = open_store(uri.rstrip("/") + "/", seconds=15.0)
    try:
        next(iter(obstore.list(store, prefix=prefix, chunk_size=1)), None)
    except (exceptions.BaseError, OSError) as error:
        code = classify_error(error, local=False).code
        if code == "NoSuchBucket":
            raise ConfigError(
                f"{option} {redact(uri)}: there is no such bucket: check its name and the endpoint"
            ) from error
        if code in ("ConnectionFailed", "TimedOut"):
            answer = redact(str(parse_server_answer(error)))
            raise ConfigError(
                f"{option} {redact(uri)}: the storage does not answer ({answer}): check the network, AWS_ENDPOINT_URL "
                "and its certificate"
            ) from error


def put_object(uri: str, data: bytes, *, seconds: float, retries: int = 1) -> None:
    """Write an object unconditionally.

    Args:
        uri: `s3://bucket/key` of the object.
        data: bytes to write.
        seconds: time limit of a request, seconds.
        retries: how often the client tries again.
    Raises:
        PermissionError: If the credentials do not give the right to write it.
        OSError: If the storage failed; the object may or may not have been written.
    """
    store, key = open_store(uri, seconds=seconds, retries=retries)
    with _plain_errors(uri):
        obstore.put(store, key, data, use_multipart=False)


def put_object_if(uri: str, data: bytes, *, expected: str | None, seconds: float = 60.0) -> str:
    """Write an object conditionally: over the expected version (If-Match) or where none exists (If-None-Match: *).

    Args:
        uri: `s3://bucket/key` of the object.
        data: bytes to write.
        expected: entity tag of the version to replace; None if the object must not exist.
        seconds: time limit of the request, seconds.
    Returns:
        Entity tag of the new version.
    Raises:
        ChangedError: If the object has another version. After a broken connection that may be the one just written.
        PermissionError: If the credentials do not give the right to write it.
        OSError: If the storage failed; the object may or may not have been written.
    """
    store, key = open_store(uri, seconds=seconds)
    try:
        with _plain_errors(uri):
            mode: Any = "create" if expected is None else {"e_tag": expected}
            return obstore.put(store, key, data, mode=mode, use_multipart=False)["e_tag"] or ""
    except FileNotFoundError as error:
        if expected is None:  # the bucket is absent
            raise
        raise ChangedError(f"{uri} no longer exists") from error


@contextmanager
def _plain_errors(uri: str) -> Iterator[None]:
    """Turn the errors of obstore into those of Python, in one line."""
    try:
        yield
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
        raise ChangedError(f"{uri} has another version than expected") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no such object: {uri}: {parse_server_answer(error)}") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise PermissionError(f"no rights on {uri}: {parse_server_answer(error)}") from error
    except exceptions.BaseError as error:
        raise OSError(f"storage failed on {uri}: {parse_server_answer(error)}") from error
    except ValueError as error:  # a key with a part . or .., or a control character
        answer = parse_server_answer(error)
        raise ConfigError(f"{uri!r} cannot be requested ({answer}): copy it to a plain key") from error


def _credentials_of_environment() -> tuple[str, str]:
    """The variables that credentials depend on: a process whose environment changes gets another store."""
    return os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_PROFILE", "")


@lru_cache(maxsize=64)
def _store(
    bucket: str,
    endpoint: str,
    region: str,
    access: tuple[tuple[str, bool], ...],
    credentials: tuple[str, str],
    seconds: float,
    retries: int,
) -> S3Store:
    config: Any = {"region": region, **dict(access)}
    config |= {"endpoint": endpoint, "aws_endpoint_url_s3": endpoint} if endpoint else {}
    return S3Store(
        bucket,
        config=config,
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=10),
            "read_timeout": timedelta(seconds=min(seconds, 60.0)),
            "timeout": timedelta(seconds=seconds),
        },
        retry_config={"max_retries": retries, "retry_timeout": timedelta(seconds=min(seconds, 120.0))},
        credential_provider=_profile_provider(*credentials),
    )


def _profile_provider(key: str, profile: str) -> S3CredentialProvider | None:
    """boto3's credentials if a profile is in use; None for static keys or a role, both of which obstore knows."""
    files = any(Path(os.environ.get(name, default)).expanduser().is_file() for name, default in _PROFILE_FILES)
    if key or not (profile or files):
        return None
    if importlib.util.find_spec("boto3") is None:
        if not profile:
            return None
        raise ConfigError(f"AWS_PROFILE={profile} is read by boto3, which is not installed: pip install boto3")
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return Boto3CredentialProvider()
    except Exception as error:  # botocore has no common root for what is wrong in a profile
        if not profile:  # the file holds no credentials: a role may
            return None
        raise ConfigError(f"AWS_PROFILE={profile} cannot be used: {one_line(error)}") from error
