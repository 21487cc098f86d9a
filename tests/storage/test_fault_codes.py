"""Classification of errors: what clients of a storage say, against the one table."""

import errno
from urllib.error import HTTPError, URLError

import pyarrow as pa
import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from m3ray.storage.fault_codes import classify_error, is_transient_reject

# What earlier versions wrote, word for word.
OLDER = "cannot read s3://b/k: When reading information for key 'k' in bucket 'b': AWS Error {} during HeadObject"


def obstore_says(status, code):
    said = f"Server returned non-2xx status code: {status} X: <Error><Code>{code}</Code></Error>"
    return f"Generic S3 error: Error performing GET http://h/b/k in 4ms - {said}"


# The texts are those that obstore 0.12, pyarrow 25 and urllib gave to a server that answered so.
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionDeniedError(obstore_says(403, "AccessDenied")), "AccessDenied"),
        (PermissionDeniedError(obstore_says(403, "RequestTimeTooSkewed")), "RequestTimeTooSkewed"),
        (PermissionDeniedError(obstore_says(403, "InvalidObjectState")), "InvalidObjectState"),
        (GenericError(obstore_says(400, "ExpiredToken")), "ExpiredToken"),
        (GenericError(obstore_says(503, "SlowDown")), "SlowDown"),
        (GenericError(obstore_says(400, "KMS.DisabledException")), "KMS"),
        (GenericError(obstore_says(429, "x")), "SlowDown"),
        (GenericError(obstore_says(502, "x")), "ServiceUnavailable"),
        (FileNotFoundError(obstore_says(404, "NoSuchBucket")), "NoSuchBucket"),
        (FileNotFoundError(obstore_says(404, "NoSuchKey")), "missing_file"),
        (GenericError("Generic S3 error: error sending request Debug source: kind: Connect"), "ConnectionFailed"),
        (GenericError("Generic S3 error: response body error Debug source: kind: Timeout, TimedOut"), "TimedOut"),
        (GenericError("Error performing PUT http://169.254.169.254/latest/api/token: 403 Forbidden"), "NoCredentials"),
        (OSError("When reading key 'k' in bucket 'b': AWS Error ACCESS_DENIED during HeadObject"), "AccessDenied"),
        (OSError("AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 7"), "ConnectionFailed"),
        (OSError("AWS Error UNKNOWN (HTTP status 400) during HeadObject operation: No response body."), "StorageError"),
        (OSError("AWS Error UNKNOWN (HTTP status 301) during HeadObject operation"), "PermanentRedirect"),
        (HTTPError("http://h/x", 403, "Forbidden", None, None), "AccessDenied"),
        (HTTPError("http://h/x", 410, "Gone", None, None), "missing_file"),
        (URLError(ConnectionRefusedError(111, "Connection refused")), "ConnectionFailed"),
        (TimeoutError("timed out"), "TimedOut"),
        (GenericError("something that nobody has seen yet"), "StorageError"),
    ],
)  # fmt: skip
def test_what_clients_say(error, code):
    assert classify_error(error, local=False).code == code


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EIO, "EIO"), (errno.ESTALE, "ESTALE"), (errno.EACCES, "EACCES"), (errno.ENOTCONN, "ENOTCONN"),
        (errno.ENOENT, "missing_file"), (errno.ELOOP, "unreadable_file"), (errno.ENXIO, "unreadable_file"),
    ],
)  # fmt: skip
def test_what_the_system_says_of_a_local_file(number, code):
    assert classify_error(OSError(number, "words"), local=True).code == code


@pytest.mark.parametrize(
    ("error", "message", "passing"),
    [
        ("storage_failed", "anything", True),
        ("unreadable_file", OLDER.format("ACCESS_DENIED"), True),
        ("unreadable_file", OLDER.format("NO_SUCH_BUCKET"), True),
        ("unreadable_file", OLDER.format("REQUEST_TIME_TOO_SKEWED"), True),
        ("unreadable_file", OLDER.format("INVALID_OBJECT_STATE"), True),
        ("unreadable_file", OLDER.format("UNKNOWN (HTTP status 403)"), True),
        ("unreadable_file", "cannot read s3://b/k: ... ExpiredToken ...", True),
        ("unreadable_file", "cannot read /v/x.mp4: [Errno 13] Permission denied: '/v/x.mp4'", True),
        ("unreadable_file", "cannot read /v/x.mp4: [Errno 5] Input/output error: '/v/x.mp4'", True),
        ("unreadable_file", "cannot read /v/loop.mp4: [Errno 40] Too many levels of symbolic links", False),
        ("unreadable_file", "cannot read 'ftp://h/x': unknown scheme", False),
        ("missing_file", "no file at s3://b/ACCESS_DENIED", False),
        ("damaged", "HTTP status 403", False),
    ],
)
def test_rejects_of_older_versions(error, message, passing):
    row = pa.table({"stage": ["read"], "error": [error], "message": [message]})
    assert is_transient_reject(row).to_pylist() == [passing]


def test_a_reject_of_the_listing_stays():
    row = pa.table({"stage": ["list"], "error": ["unreadable_file"], "message": ["AWS Error ACCESS_DENIED"]})
    assert is_transient_reject(row).to_pylist() == [False]


@pytest.mark.parametrize("name", ["169.254.mp4", "no credentials.mp4", "<Code>AccessDenied</Code>.mp4", "SlowDown.mp4"])
def test_the_words_of_a_key_are_no_error(name):
    said = f"Object at location v/{name} not found: <Code>NoSuchKey</Code><Key>v/{name}</Key>"
    assert classify_error(FileNotFoundError(said), local=False, uri=f"s3://b/v/{name}").code == "missing_file"


@pytest.mark.parametrize(
    "message", ["cannot read /d/AccessDenied.mp4: a socket", "[Errno 36] too long: '/d/SlowDown/a'"]
)
def test_the_words_of_a_path_make_no_older_reject_passing(message):
    row = {"uri": "/d/AccessDenied.mp4", "stage": "read", "error": "unreadable_file", "message": message}
    assert is_transient_reject(pa.table({name: [value] for name, value in row.items()})).to_pylist() == [False]
