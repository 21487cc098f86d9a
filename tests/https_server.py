"""A web server on this machine, with a certificate of its own that a test puts into SSL_CERT_FILE."""

import datetime
import http.server
import ipaddress
import ssl
import threading
from contextlib import contextmanager

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"


def write_certificate(path):
    """A certificate for 127.0.0.1 and its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + certificate.public_bytes(pem))
    return path


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers each path as `server.pages` has it, and notes it in `server.asked`."""

    server: "PagesServer"

    def do_GET(self):
        self.server.asked.append(self.path)
        pages = self.server.pages[self.path]
        status, headers, body = pages.pop(0) if isinstance(pages, list) else pages
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


class PagesServer(http.server.ThreadingHTTPServer):
    """Has its pages, path to (status, headers, body) or to a list of these for one request each."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.pages, self.asked, self.address = {}, [], f"https://{HOST}:{self.server_port}"


@contextmanager
def serve_https(certificate):
    """A server of `pages` over https; yields it with its `address`."""
    server = PagesServer((HOST, 0), Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
