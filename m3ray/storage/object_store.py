"""Objects of S3 through obstore: whole or ranged reads in one request, and writes on a condition, which pyarrow lacks.

Endpoint, region and keys come from the environment, as in `filesystems`: static keys first, then a profile (through
boto3), then the role of the container or machine.
"""

from __future__ import annotations

import importlib.util
import os
import re
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
from m3ray.storage.fault_codes import fault_of
from m3ray.storage.filesystems import has_secret, one_line, s3_place
from m3ray.storage.schemes import access_of
from m3ray.storage.secrets import redacted

if TYPE_CHECKING:
    from obstore.store import S3CredentialProvider

_CLIP_SECONDS = 600.0  # of one request: a large clip over a slow line
_SERVER_SAID = re.compile(r"<Code>(.*?)</Code>(?:\s*<Message>(.*?)</Message>)?")
_PROFILE_FILES = (("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), ("AWS_CONFIG_FILE", "~/.aws/config"))


class ChangedError(M3RayError):
    """A conditional write found another version than the one expected."""


@dataclass(frozen=True)
class Fetched:
    """What a read gave.

    Args:
        data: the bytes asked for.
        size: of the whole object, bytes.
        etag: of the version that was read.
    """

    data: bytes
    size: int
    etag: str


def open_store(uri: str, *, seconds: float = _CLIP_SECONDS, retries: int = 5) -> tuple[S3Store, str]:
    """The store of an object's bucket, one a process and bucket, and the object's key in it.

    Args:
        uri: `s3://bucket/key`.
        seconds: a request may take, its body included.
        retries: of the client, on 5xx, throttling and broken connections.
    Raises:
        ConfigError: the URI is none of S3, carries credentials, or a profile is asked for that cannot be read.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or has_secret(uri):
        scheme = uri.partition("://")[0] if "://" in uri else "a local path"
        raise ConfigError(f"expected s3://bucket/key without credentials, got {scheme}: give a local folder or S3")
    endpoint, region = s3_place(bucket)
    access = tuple(access_of(bucket).items())
    return _store(bucket, endpoint, region, access, _credentials_of_environment(), seconds, retries), key


def get_bytes(uri: str, *, seconds: float = _CLIP_SECONDS) -> Fetched:
    """A whole object, in one request.

    Args:
        uri: `s3://bucket/key`.
        seconds: the request may take.
    Raises:
        FileNotFoundError: there is no such object or bucket.
        PermissionError: the rights or keys do not reach.
        OSError: the storage failed.
        ConfigError: the key holds `.`, `..` or control characters, which pyarrow can read and obstore not.
    """
    store, key = open_store(uri, seconds=seconds)
    with _plain_errors(uri):
        reply = obstore.get(store, key)
        data = reply.bytes().to_bytes()
        return Fetched(data, reply.meta["size"], reply.meta["e_tag"] or "")


def check_bucket(uri: str, option: str) -> None:
    """Asks for one key below an `s3://` URI: whether its bucket is there, and its endpoint answers.

    Args:
        uri: a folder.
        option: that named it.
    Raises:
        ConfigError: neither is. Other faults, of rights say, are told where they matter.
    """
    store, prefix = open_store(uri.rstrip("/") + "/", seconds=15.0)
    try:
        next(iter(obstore.list(store, prefix=prefix, chunk_size=1)), None)
    except (exceptions.BaseError, OSError) as error:
        code = fault_of(error, local=False).code
        if code == "NoSuchBucket":
            raise ConfigError(
                f"{option} {redacted(uri)}: there is no such bucket: check its name and the endpoint"
            ) from error
        if code in ("ConnectionFailed", "TimedOut"):
            said = redacted(_said(error))
            raise ConfigError(
                f"{option} {redacted(uri)}: the storage does not answer ({said}): check the network, AWS_ENDPOINT_URL "
                "and its certificate"
            ) from error


def put(uri: str, data: bytes, *, seconds: float, retries: int = 1) -> None:
    """Writes an object, whatever was there.

    Args:
        uri: `s3://bucket/key`.
        data: the bytes.
        seconds: a request may take.
        retries: of the client.
    Raises:
        PermissionError: the rights or keys do not reach.
        OSError: the storage failed; whether it wrote is not known.
    """
    store, key = open_store(uri, seconds=seconds, retries=retries)
    with _plain_errors(uri):
        obstore.put(store, key, data, use_multipart=False)


def put_if(uri: str, data: bytes, *, expected: str | None, seconds: float = 60.0) -> str:
    """Writes an object only if its version is the expected one (If-Match), or there is none (If-None-Match: *).

    Args:
        uri: `s3://bucket/key`.
        data: the bytes.
        expected: the version's etag; None: the object must not exist.
        seconds: the request may take.
    Returns:
        The new version's etag.
    Raises:
        ChangedError: it has another version. After a broken connection that may be the one just written.
        PermissionError: the rights or keys do not reach.
        OSError: the storage failed; whether it wrote is not known.
    """
    store, key = open_store(uri, seconds=seconds)
    try:
        with _plain_errors(uri):
            mode: Any = "create" if expected is None else {"e_tag": expected}
            return obstore.put(store, key, data, mode=mode, use_multipart=False)["e_tag"] or ""
    except FileNotFoundError as error:
        if expected is None:  # the bucket is absent
            raise
        raise ChangedError(f"{uri} is gone") from error


@contextmanager
def _plain_errors(uri: str) -> Iterator[None]:
    """obstore's errors as Python's own, in one line."""
    try:
        yield
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
        raise ChangedError(f"{uri} has another version than expected") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no such object: {uri}: {_said(error)}") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise PermissionError(f"no rights on {uri}: {_said(error)}") from error
    except exceptions.BaseError as error:
        raise OSError(f"storage failed on {uri}: {_said(error)}") from error
    except ValueError as error:  # a key with a part . or .., or a control character
        raise ConfigError(f"{uri!r} cannot be asked for ({_said(error)}): copy it to a plain key") from error


def _said(error: BaseException) -> str:
    """The server's code and message, or what obstore says without its dump of structures."""
    text = one_line(error)
    found = _SERVER_SAID.search(text)
    return f"{found[1]}: {found[2] or ''}".rstrip(": ") if found else text


def _credentials_of_environment() -> tuple[str, str]:
    """What a store's credentials depend on: a process whose environment changes gets another store."""
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
    place: Any = {"region": region, **dict(access)}
    place |= {"endpoint": endpoint, "aws_endpoint_url_s3": endpoint} if endpoint else {}
    return S3Store(
        bucket,
        config=place,
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
    """boto3's credentials where a profile rules; None: keys of the environment, or a role, which obstore knows."""
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
