"""Files from the web and from S3."""

import hashlib
import io
from contextlib import contextmanager
from email.message import Message
from urllib.error import HTTPError, URLError
from urllib.request import Request

import pytest
from https_server import serve_https, write_certificate

from m3ray.errors import BundleError
from m3ray.storage import download as downloading
from m3ray.storage.download import download, open_https

DATA = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(DATA).hexdigest()
MOST = 10 << 20


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return write_certificate(tmp_path_factory.mktemp("certificate") / "own.pem")


@pytest.fixture
def web(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(downloading, "backoff_seconds", lambda _: 0)
    with serve_https(certificate) as server:
        yield server


def test_a_file_of_the_web_is_copied_and_hashed(web, tmp_path):
    web.pages = {"/b.zip": (200, {}, DATA)}
    assert download(f"{web.address}/b.zip", tmp_path / "b", MOST) == DIGEST
    assert (tmp_path / "b").read_bytes() == DATA


def test_an_address_may_lead_on_to_another_but_not_to_one_without_encryption(web, tmp_path):
    web.pages = {
        "/moved.zip": (302, {"Location": f"{web.address}/b.zip"}, b""),
        "/open.zip": (302, {"Location": "http://127.0.0.1:9/b.zip"}, b""),
        "/b.zip": (200, {}, DATA),
    }
    assert download(f"{web.address}/moved.zip", tmp_path / "b", MOST) == DIGEST
    with pytest.raises(BundleError, match=r"open\.zip leads on to http://, expected https://"):
        download(f"{web.address}/open.zip", tmp_path / "b", MOST)


def test_a_busy_server_is_asked_again_and_an_absent_file_is_not(web, tmp_path):
    web.pages = {
        "/b.zip": [(503, {}, b""), (200, {}, DATA)],
        "/none.zip": [(404, {}, b"")],
        "/down.zip": (500, {}, b""),
    }
    assert download(f"{web.address}/b.zip", tmp_path / "b", MOST) == DIGEST
    with pytest.raises(BundleError, match=r"none\.zip \(the server answers 404 Not Found\): check the address"):
        download(f"{web.address}/none.zip", tmp_path / "b", MOST)
    with pytest.raises(BundleError, match="the server answers 500"):
        download(f"{web.address}/down.zip", tmp_path / "b", MOST)
    assert web.asked.count("/down.zip") == 3


def test_a_connection_that_ends_early_is_told(web, tmp_path):
    web.pages = {"/b.zip": (200, {"Content-Length": str(len(DATA) + 100)}, DATA)}
    with pytest.raises(BundleError, match="the connection ended 100 bytes before the file did"):
        download(f"{web.address}/b.zip", tmp_path / "b", MOST)


def test_a_file_that_does_not_end_is_given_up(web, tmp_path):
    web.pages = {"/told.zip": (200, {}, DATA), "/untold.zip": (200, {"Content-Length": ""}, DATA)}
    for name in web.pages:
        with pytest.raises(BundleError, match="has more than 1 MiB, the most that is taken"):
            download(f"{web.address}{name}", tmp_path / "b", 1 << 20)


def test_a_certificate_that_nobody_vouches_for_is_rejected_at_once(web, tmp_path, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    web.pages = {"/b.zip": (200, {}, DATA)}
    with pytest.raises(BundleError, match=r"cannot fetch .*CERTIFICATE_VERIFY_FAILED"):
        download(f"{web.address}/b.zip", tmp_path / "b", MOST)
    assert web.asked == []


@pytest.mark.parametrize("scheme", ["ftp", "file", "data", "http"])
def test_what_is_not_https_is_not_opened(scheme, tmp_path):
    (tmp_path / "b.zip").write_bytes(DATA)
    address = {"file": f"file://{tmp_path}/b.zip", "data": "data:text/plain,b"}.get(scheme, f"{scheme}://127.0.0.1:9/b")
    with pytest.raises(URLError, match=f"unknown url type: {scheme}"):
        open_https(Request(address))


class Answer(io.BytesIO):
    """What a server answers: bytes, with the length that it tells."""

    def __init__(self, data, told=None):
        super().__init__(data)
        self.headers = {} if told is None else {"Content-Length": told}


class Broken(Answer):
    """Its first bytes come, and then the connection breaks."""

    def read(self, size=-1, /):
        if chunk := super().read(size):
            return chunk
        raise ConnectionResetError("connection reset by peer")


class Server:
    """Gives one answer after the other, or raises it; counts in `calls`."""

    def __init__(self, *answers):
        self.answers, self.calls = answers, 0

    @contextmanager
    def __call__(self, request):
        self.calls += 1
        answer = self.answers[self.calls - 1]
        if isinstance(answer, Exception):
            raise answer
        yield answer


URL = "https://h/b.zip"


@pytest.fixture
def no_pause(monkeypatch):
    monkeypatch.setattr(downloading, "backoff_seconds", lambda _: 0)


@pytest.mark.parametrize("told", [None, "3"])
def test_a_file_of_just_the_most_bytes_is_taken(tmp_path, told):
    assert download(URL, tmp_path / "b", 3, Server(Answer(b"abc", told))) == hashlib.sha256(b"abc").hexdigest()


def test_a_file_that_tells_to_be_too_long_is_not_read(tmp_path):
    answer = Answer(b"abcd", "4")
    with pytest.raises(BundleError, match="the most that is taken"):
        download(URL, tmp_path / "b", 3, Server(answer))
    assert answer.tell() == 0


@pytest.mark.parametrize("told", ["\N{SUPERSCRIPT TWO}", "9" * 5000, "-1", "3 bytes"])
def test_a_length_that_is_no_number_is_left_aside(tmp_path, told):
    assert download(URL, tmp_path / "b", 3, Server(Answer(b"abc", told))) == hashlib.sha256(b"abc").hexdigest()


def test_who_asks_too_often_asks_again(tmp_path, no_pause):
    server = Server(HTTPError(URL, 429, "Too Many Requests", Message(), None), Answer(b"abc"))
    download(URL, tmp_path / "b", 3, server)
    assert server.calls == 2


def test_what_a_broken_connection_left_is_replaced(tmp_path, no_pause):
    download(URL, tmp_path / "b", 3, Server(Broken(b"ab"), Answer(b"abc")))
    assert (tmp_path / "b").read_bytes() == b"abc"


@pytest.mark.parametrize(
    "error",
    [
        OSError("at https://h/x?X-Amz-Signature=abcd1234"),
        HTTPError(URL, 302, "Found\nRedirection to 'gopher://h/x?X-Amz-Signature=abcd1234'", Message(), None),
    ],
)
def test_secrets_of_other_addresses_are_not_told(tmp_path, no_pause, error):
    with pytest.raises(BundleError, match=r"cannot fetch https://h/b\.zip") as caught:
        download(URL, tmp_path / "b", 3, Server(error, error, error))
    assert "abcd1234" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_signed_address_on_the_way_is_not_told(web, tmp_path):
    signed = "/signed.zip?X-Amz-Signature=abcd1234"
    web.pages = {
        "/moved.zip": (302, {"Location": f"{web.address}{signed}"}, b""),
        signed: (302, {"Location": "http://127.0.0.1:9/b.zip"}, b""),
    }
    with pytest.raises(BundleError, match=r"leads on to http://, expected https://") as caught:
        download(f"{web.address}/moved.zip", tmp_path / "b", MOST)
    assert web.asked == ["/moved.zip", signed]
    assert "abcd1234" not in str(caught.value)


def test_an_object_is_copied_and_hashed(s3, tmp_path):
    s3.create_bucket(Bucket="shared")
    s3.put_object(Bucket="shared", Key="models/m3s.zip", Body=DATA)
    assert download("s3://shared/models/m3s.zip", tmp_path / "b", MOST) == DIGEST
    with pytest.raises(BundleError, match=r"cannot fetch s3://shared/none\.zip \(there is no such file\)"):
        download("s3://shared/none.zip", tmp_path / "b", MOST)
