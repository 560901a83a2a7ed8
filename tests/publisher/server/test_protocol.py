"""One connection: what is cut off, what is not, and that nobody holds up others."""

import hashlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.site import Client, Site

from modelcast.publisher.server.settings import ServerLimits
from modelcast.shared.digest import digest
from modelcast.shared.limits import MIB

STRICT = ServerLimits(connections=8, header_bytes=2000, header_seconds=0.3, body_seconds=0.3, stall_seconds=0.5, idle_seconds=1)
BODY = hashlib.shake_128(b"chunk").digest(4 * MIB)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with little patience, that holds one chunk."""
    with Site(tmp_path_factory.mktemp("strict") / "depot", STRICT, needs_tokens=False) as strict:
        with Client(strict.url, None) as client:
            client.begin("fraud")
            assert client.put("fraud", BODY).status_code == 201
            client.end("fraud")
        yield strict


def everything(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


CHUNK = f"GET /v1/models/fraud/chunks/{digest(BODY).hex()} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def test_headers_that_do_not_end_are_cut_off(strict: Site) -> None:
    with strict.raw() as slow:
        slow.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n")
        assert everything(slow).startswith(b"HTTP/1.1 408 ")


def test_a_connection_that_says_nothing_is_cut_off(strict: Site) -> None:
    with strict.raw() as silent:
        assert everything(silent).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("start", [b"GET /" + b"a" * 3000, b"GET / HTTP/1.1\r\nX: " + b"a" * 3000 + b"\r\nY:", b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 900],
                         ids=["a long line", "a long header", "many headers"])
def test_headers_that_are_too_large_are_431(strict: Site, start: bytes) -> None:
    with strict.raw() as greedy:
        greedy.sendall(start)
        for _ in range(2):   # until it ends, or the limit is reached
            try:
                greedy.sendall(b"a" * 2000 + b"\r\n\r\n")
            except OSError:
                break
        try:
            answer = greedy.recv(65536)
        except ConnectionResetError:
            pytest.skip("cut off before the answer was read")
        assert answer.startswith(b"HTTP/1.1 431 ")


def test_what_is_no_http_is_400_with_a_problem(strict: Site) -> None:
    with strict.raw() as stranger:
        stranger.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        answer = everything(stranger)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


def test_a_body_that_does_not_end_is_408(strict: Site) -> None:
    with strict.raw() as slow:
        slow.sendall(b"POST /v1/models/slow/publishing HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert everything(slow).startswith(b"HTTP/1.1 408 ")


def test_one_connection_too_many_is_503_and_the_others_go_on(strict: Site) -> None:
    begun = [strict.raw() for _ in range(STRICT.connections)]
    try:
        with strict.raw() as late:
            answer = everything(late)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After" in answer
    finally:
        for connection in begun:
            connection.close()


def test_a_client_that_takes_nothing_is_cut_off_and_holds_nobody_up(strict: Site) -> None:
    with strict.raw() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(CHUNK * 8)
        with Client(strict.url, None) as client:
            began = time.monotonic()
            assert client.get(f"/models/fraud/chunks/{digest(BODY).hex()}").content == BODY
            assert time.monotonic() - began < 5
        from tests.publisher.server.test_joining import eventually

        eventually(lambda: not any(c.transport.get_extra_info("peername") == slow.getsockname() for c in list(strict.server.server_state.connections)))


def test_a_half_closed_client_is_let_go(strict: Site) -> None:
    with strict.raw() as half:
        half.sendall(CHUNK[:20])
        half.shutdown(socket.SHUT_WR)
        assert everything(half) == b""


def test_a_client_that_goes_in_mid_download_leaves_nothing_open(strict: Site) -> None:
    with strict.raw() as killed:
        killed.sendall(CHUNK)
        killed.recv(1000)
    from tests.publisher.server.test_joining import eventually

    eventually(lambda: not any(Path("/proc/self/fd").glob(f"*{digest(BODY).hex()}")) and not open_chunks())


def open_chunks() -> list[str]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(entry.readlink()))
        except OSError:
            continue
    return [name for name in found if "/chunks/" in name]


def test_requests_in_one_go_are_answered_in_their_order(strict: Site) -> None:
    with strict.raw() as eager:
        eager.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n" + CHUNK + b"GET /v1/none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = everything(eager)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert BODY in answer
    assert answer.index(b'"status":"ok"') < answer.index(BODY) < answer.index(b"HTTP/1.1 404 ")


def test_uvicorn_still_has_what_this_rests_on() -> None:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

    for name in ("on_message_begin", "on_url", "on_header", "on_headers_complete", "on_message_complete", "send_400_response"):
        assert callable(getattr(HttpToolsProtocol, name))
    made = RequestResponseCycle.__init__.__code__.co_names
    assert {"expected_content_length", "disconnected", "response_complete", "scope"} <= set(made)
    assert {"body", "more_body", "waiting_for_100_continue", "keep_alive"} <= set(made)
    assert {"parser", "flow", "set_dangerous_leniencies"} <= set(HttpToolsProtocol.__init__.__code__.co_names)
