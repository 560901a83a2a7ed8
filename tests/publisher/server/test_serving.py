"""From an address to a server: who may be served, TLS, and servers that are killed."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import requests
import urllib3
from tests.fakes.site import Client, Site

from modelcast.publisher.server.serving import Listening, make_server
from modelcast.shared.digest import digest
from modelcast.shared.errors import DepotUnusable, MissingPath, MisuseError
from modelcast.shared.file_url import FileUrl
from modelcast.shared.limits import MIB
from modelcast.shared.roads import open_road


@pytest.fixture
def depot(tmp_path: Path) -> Path:
    folder = tmp_path / "depot"
    folder.mkdir(mode=0o700)
    return folder


@pytest.mark.parametrize(("host", "alone"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("example.org", False)])
def test_loopback_is_known(host: str, alone: bool) -> None:
    assert Listening(host).is_loopback is alone


def test_without_tokens_nobody_but_this_host_is_served(depot: Path) -> None:
    with pytest.raises(MisuseError, match="Without tokens"):
        make_server(FileUrl(str(depot)), Listening("0.0.0.0"), needs_tokens=False)


def test_a_port_that_is_taken_is_said(depot: Path) -> None:
    with Site(depot) as site, pytest.raises(MisuseError, match="Cannot listen"):
        make_server(FileUrl(str(depot)), Listening(port=site.address[1]))


def test_small_answers_are_not_held_back(depot: Path) -> None:
    """Where Nagle's algorithm is on, an answer of two pieces waits for the client's delayed acknowledgement: 40 ms, each time."""
    with Site(depot) as site, site.client() as client:
        client.begin("fraud")   # the connection stays open
        (connection,) = site.server.server_state.connections
        assert connection.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_directory_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(DepotUnusable, match="no directory"):
        make_server(FileUrl(str(tmp_path / "none")), Listening(port=0))


def test_a_certificate_that_is_missing_is_said(depot: Path) -> None:
    with pytest.raises(MissingPath):
        make_server(FileUrl(str(depot)), Listening(port=0, tls_cert="/none.pem"))


def test_a_server_with_tls_serves_the_same(depot: Path, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with Site(depot, tls_cert=str(certificate)) as site, site.client() as client:
        client.http.verify = str(certificate)
        client.url = client.url.replace("127.0.0.1", "localhost")
        client.begin("fraud")
        body = os.urandom(3 * MIB)
        assert client.put("fraud", body).status_code == 201
        assert client.get(f"/models/fraud/chunks/{digest(body).hex()}").content == body
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://localhost:{site.address[1]}/v1/health", timeout=5)


def make_certificate(folder: Path) -> Path:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )
    path = folder / "both.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
    return path


# --------------------------------------------------------------------------- killed


class Process:
    """The command ``modelcast serve`` as a process of its own."""

    def __init__(self, depot: Path) -> None:
        command = [sys.executable, "-m", "modelcast.shared.cli", "serve", f"file://{depot}", "--port", "0", "--insecure-no-tokens"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        status = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


def test_a_server_that_is_killed_in_mid_upload_keeps_nothing_half_and_lets_the_next_publisher_in(depot: Path) -> None:
    server = Process(depot)
    with Client(f"{server.url}/v1", None) as client:
        client.begin("fraud")
        whole = os.urandom(1000)
        assert client.put("fraud", whole).status_code == 201

        def half():
            yield bytes(1000)
            assert server.end(signal.SIGKILL) == -signal.SIGKILL
            yield bytes(1000)

        with pytest.raises(requests.RequestException):
            client.ask("PUT", f"/models/fraud/chunks/{digest(bytes(2000)).hex()}", data=half())
    chunks = list((depot / "models/fraud/chunks").glob("*/*"))
    assert [path.name for path in chunks] == [digest(whole).hex()]
    road = open_road(f"file://{depot}").publish("fraud", "production")
    assert list(road.chunks.held_since(0)) == [digest(whole)]
    road.close()


def test_a_server_that_is_killed_in_mid_download_goes_on_where_it_was(depot: Path) -> None:
    body = os.urandom(8 * MIB)
    server = Process(depot)
    with Client(f"{server.url}/v1", None) as client:
        client.begin("fraud")
        client.put("fraud", body)
        with client.get(f"/models/fraud/chunks/{digest(body).hex()}", stream=True) as answer:
            start = answer.raw.read(100_000)
            server.end(signal.SIGKILL)
            with suppress(urllib3.exceptions.HTTPError):
                assert len(start) + len(answer.raw.read()) < len(body)   # what was in the buffers, and then the end
    server = Process(depot)
    with Client(f"{server.url}/v1", None) as client:
        headers = {"Range": f"bytes={len(start)}-", "If-Range": f'"{digest(body).hex()}"'}
        rest = client.get(f"/models/fraud/chunks/{digest(body).hex()}", headers=headers)
        assert rest.status_code == 206
        assert start + rest.content == body
    assert server.end(signal.SIGTERM) == 0


def test_a_server_that_is_told_to_stop_ends_long_polls_first(depot: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    server = Process(depot)
    with Client(f"{server.url}/v1", None) as client, ThreadPoolExecutor(1) as pool:
        at = "/models/fraud/channels/production/instances/a/orders?joined=1"
        client.wire(at)
        waiting = pool.submit(client.wire, f"{at}&wait=50")
        with Client(f"{server.url}/v1", None) as other:
            assert other.get("/health").status_code == 200
        assert server.end(signal.SIGTERM) == 0
        with suppress(requests.ConnectionError):   # it had not begun to wait
            assert waiting.result(30) == {"orders": []}
