"""Bodies that go straight into memory: whole however they come, and the memory is nobody else's meanwhile."""

import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.fakes.site import Client, Site
from tests.publisher.server.test_joining import eventually
from tests.publisher.server.test_protocol import everything
from tests.publisher.server.test_serving import make_certificate

from modelcast.publisher.server.inflow import KEPT, MOST, Buffers
from modelcast.publisher.server.settings import ServerLimits
from modelcast.shared.digest import digest
from modelcast.shared.limits import KIB, MIB

OTHER = b"a small one"
CHUNKS = [hashlib.shake_128(bytes([number])).digest(MIB + number) for number in range(3)]
HEALTH = b"GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def listed(*chunks: bytes) -> str:
    return ",".join(f"{digest(chunk).hex()}:{len(chunk)}:{number}" for number, chunk in enumerate(chunks))


def put(site: Site, client: Client, model: str, *chunks: bytes, length: int | None = None, **headers: str) -> bytes:
    """Return a batch as a request."""
    fields = {
        "Host": "x", "Authorization": str(client.http.headers["Authorization"]), **client.session, "Modelcast-Chunks": listed(*chunks),
        "Content-Length": str(sum(map(len, chunks)) if length is None else length), **headers,
    }
    head = f"PUT /v1/models/{model}/chunks:batch HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return head.encode() + b"\r\n" + b"".join(chunks)


def kept(client: Client, model: str) -> list[str]:
    return [entry["digest"] for entry in client.wire(f"/models/{model}/chunks")["entries"]]


def in_pieces(connection: socket.socket, sent: bytes, sizes: list[int]) -> bytes:
    """Send, the first part in pieces of such sizes, and return all that is answered."""
    at = number = 0
    while at < len(sent):
        size = sizes[number % len(sizes)] if number < 200 else MIB
        connection.sendall(sent[at : at + size])
        at, number = at + size, number + 1
    return everything(connection)


SIZES = pytest.mark.parametrize(
    "sizes", [[10, 100, 1000], [64 * KIB], [700 * KIB], [16 * MIB]], ids=["crumbs", "packets", "pieces", "at once"]
)


@SIZES
def test_a_body_is_whole_however_it_comes_and_the_next_requests_are_answered(site: Site, client: Client, model: str, sizes: list[int]) -> None:
    client.begin(model)
    sent = put(site, client, model, *CHUNKS) + put(site, client, model, CHUNKS[1], OTHER) + put(site, client, model, *CHUNKS) + HEALTH
    with site.raw() as connection:
        answers = in_pieces(connection, sent, sizes)
    assert answers.count(b"HTTP/1.1 204 ") == 3
    assert answers.count(b"HTTP/1.1 200 ") == 1
    assert kept(client, model) == [digest(chunk).hex() for chunk in (*CHUNKS, CHUNKS[1], OTHER, *CHUNKS)]
    assert client.get(f"/models/{model}/chunks/{digest(CHUNKS[2]).hex()}").content == CHUNKS[2]
    assert took_the_short_way(site)


def took_the_short_way(site: Site) -> bool:
    """Whether some body went into memory that is lent."""
    return bool(site.server._service.buffers._free)


def test_a_body_without_a_length_and_one_that_waits_to_be_asked_for_come_the_other_way(tmp_path: Path, model: str) -> None:
    with Site(tmp_path / "depot") as site, site.client() as client:
        client.begin(model)
        headers = {"Modelcast-Chunks": listed(CHUNKS[0])}
        assert client.ask("PUT", f"/models/{model}/chunks:batch", data=iter([CHUNKS[0]]), headers=headers).status_code == 204
        head, _, body = put(site, client, model, CHUNKS[1], Expect="100-continue").partition(b"\r\n\r\n")
        with site.raw() as connection:
            connection.sendall(head + b"\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
            connection.sendall(body + HEALTH)
            assert everything(connection).startswith(b"HTTP/1.1 204 ")
        assert kept(client, model) == [digest(chunk).hex() for chunk in CHUNKS[:2]]


@pytest.mark.parametrize("length", ["0000003145731", f"000000000{8 * MIB}0"])
def test_a_length_that_is_written_strangely_is_the_length_that_it_says(tmp_path: Path, model: str, length: str) -> None:
    with Site(tmp_path / "depot", ServerLimits(header_seconds=1.0)) as site, site.client() as client:
        client.begin(model)
        with site.raw() as connection:
            connection.sendall(put(site, client, model, *CHUNKS, **{"Content-Length": length}) + HEALTH)
            answers = everything(connection)
        whole = int(length) == sum(map(len, CHUNKS))
        assert answers.startswith(b"HTTP/1.1 204 " if whole else b"HTTP/1.1 413 ")
        assert (b'"status":"ok"' in answers) == whole   # what follows is a request, or still the body
        assert len(kept(client, model)) == (3 if whole else 0)


@pytest.fixture
def safe(tmp_path: Path) -> Iterator[tuple[Site, Client, Callable[[], ssl.SSLSocket]]]:
    """A server with TLS, a client, and what opens bare connections."""
    certificate = make_certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(certificate))
    with Site(tmp_path / "depot", tls_cert=str(certificate)) as site, site.client() as client:
        client.http.verify = str(certificate)
        client.url = client.url.replace("127.0.0.1", "localhost")
        yield site, client, lambda: context.wrap_socket(site.raw(), server_hostname="localhost")


@SIZES
def test_with_tls_it_is_the_same(safe, model: str, sizes: list[int]) -> None:
    site, client, connect = safe
    client.begin(model)
    sent = put(site, client, model, *CHUNKS) + put(site, client, model, CHUNKS[1], OTHER) + put(site, client, model, *CHUNKS) + HEALTH
    with connect() as connection:
        answers = in_pieces(connection, sent, sizes)
    assert answers.count(b"HTTP/1.1 204 ") == 3
    assert answers.count(b"HTTP/1.1 200 ") == 1
    assert kept(client, model) == [digest(chunk).hex() for chunk in (*CHUNKS, CHUNKS[1], OTHER, *CHUNKS)]
    assert took_the_short_way(site)


def test_a_tls_client_that_goes_within_the_body_is_no_fault_of_the_server(safe, model: str, capfd: pytest.CaptureFixture[str]) -> None:
    site, client, connect = safe
    client.begin(model)
    with connect() as connection:
        connection.sendall(put(site, client, model, *CHUNKS)[:-1])
        eventually(lambda: site.server._service.buffers._lent == 1)
    eventually(lambda: site.server._service.buffers._lent == 0)
    headers = {"Modelcast-Chunks": listed(CHUNKS[0])}
    assert client.ask("PUT", f"/models/{model}/chunks:batch", data=CHUNKS[0], headers=headers).status_code == 204
    assert kept(client, model) == [digest(CHUNKS[0]).hex()]
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_connection_that_ends_within_the_body_leaves_nothing_and_its_session_goes_on(site: Site, client: Client, model: str) -> None:
    client.begin(model)
    with site.raw() as connection:
        connection.sendall(put(site, client, model, *CHUNKS)[:-1])
        eventually(lambda: site.server._service.buffers._lent == 1)
        connection.shutdown(socket.SHUT_WR)
        everything(connection)
    eventually(lambda: site.server._service.buffers._lent == 0)
    assert kept(client, model) == []
    answer = client.ask("PUT", f"/models/{model}/chunks:batch", data=CHUNKS[0], headers={"Modelcast-Chunks": listed(CHUNKS[0])})
    assert answer.status_code == 204
    assert kept(client, model) == [digest(CHUNKS[0]).hex()]


def test_a_body_that_does_not_end_is_408_and_the_connection_ends(tmp_path: Path, model: str) -> None:
    with Site(tmp_path / "depot", ServerLimits(body_seconds=1.0)) as site, site.client() as client:
        client.begin(model)
        with site.raw() as connection:
            connection.sendall(put(site, client, model, CHUNKS[0])[: -MIB // 2])
            eventually(lambda: site.server._service.buffers._lent == 1)
            answer = everything(connection)   # which ends
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert kept(client, model) == []


def test_a_request_in_front_of_the_body_is_answered_first(site: Site, client: Client, model: str) -> None:
    client.begin(model)
    with site.raw() as connection:
        connection.sendall(HEALTH.replace(b"Connection: close\r\n", b"") + put(site, client, model, *CHUNKS) + HEALTH)
        answers = everything(connection)
    assert answers.index(b'"status":"ok"') < answers.index(b"HTTP/1.1 204 ")
    assert kept(client, model) == [digest(chunk).hex() for chunk in CHUNKS]


def test_a_client_that_claims_much_and_sends_nothing_takes_no_memory_from_the_others(site: Site, client: Client, model: str) -> None:
    client.begin(model)
    claim = put(site, client, model, *CHUNKS, length=8 * MIB).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    with ExitStack() as idle:
        for _ in range(MOST + 4):
            idle.enter_context(site.raw()).sendall(claim)
        eventually(lambda: site.server._service.buffers._lent == MOST)
        headers = {"Modelcast-Chunks": listed(*CHUNKS)}
        assert client.ask("PUT", f"/models/{model}/chunks:batch", data=b"".join(CHUNKS), headers=headers).status_code == 204
    eventually(lambda: site.server._service.buffers._lent == 0)
    assert kept(client, model) == [digest(chunk).hex() for chunk in CHUNKS]


def lend(buffers: Buffers, stack: ExitStack) -> object:
    """Return what is lent, which is one and the same object when it is lent again."""
    buffer = stack.enter_context(buffers.one())
    return None if buffer is None else buffer.obj


def test_memory_is_lent_again_but_not_after_an_error() -> None:
    buffers, first = Buffers(), []
    with ExitStack() as stack:
        first += [lend(buffers, stack), lend(buffers, stack)]
    assert first[0] is not first[1]
    failing = buffers.one()
    failed = failing.__enter__().obj
    assert not failing.__exit__(RuntimeError, RuntimeError(), None)   # a thread may still write from it
    with ExitStack() as stack:
        again = [lend(buffers, stack), lend(buffers, stack)]
    assert any(failed is each for each in first)
    assert not any(failed is each for each in again)
    assert any(each is before for each in again for before in first)


def test_no_more_of_it_is_lent_and_kept_than_publishers_need() -> None:
    buffers = Buffers()
    with ExitStack() as stack:
        lent = [lend(buffers, stack) for _ in range(MOST + 1)]
    assert [each is None for each in lent] == [False] * MOST + [True]
    with ExitStack() as stack:
        again = [lend(buffers, stack) for _ in range(MOST)]
    assert sum(any(each is before for before in lent) for each in again) == KEPT
