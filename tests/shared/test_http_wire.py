"""A connection to a server: how it comes about, what it says when it does not, and how its waits end."""

import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.fakes.authority import Authority
from tests.fakes.http_peer import Answering, HttpPeer, Request, reply

from modelcast.shared import http_wire
from modelcast.shared.errors import BrokerUnreachable, MisuseError
from modelcast.shared.http_line import Ask
from modelcast.shared.http_url import HttpUrl
from modelcast.shared.http_wire import GATHERED_BYTES, LARGE_BYTES, Bell, Wire, tls_of
from modelcast.shared.limits import MIB

SOON = 20.0
BRIEF = 0.1


def hello(_request: Request) -> bytes:
    return reply(200, b"hello")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def peer() -> Iterator[Callable[..., HttpPeer]]:
    """Makes peers that are closed after the test."""
    made: list[HttpPeer] = []

    def make(answering: Answering = hello, tls: ssl.SSLContext | None = None) -> HttpPeer:
        made.append(HttpPeer(answering, tls))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))   # bound and not listening
        url = HttpUrl.parse(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(BrokerUnreachable, match=str(url.port)):
            Wire(url, None)
    with pytest.raises(BrokerUnreachable, match=r"no-such-host\.invalid"):
        Wire(HttpUrl.parse("http://no-such-host.invalid"), None)


def test_a_certificate_of_a_trusted_authority_is_taken(peer, authority: Authority) -> None:
    line = peer(tls=authority.server("localhost")).server(options=f"?ca_file={authority.file}").line()
    line.send(Ask("GET", "/x"))
    assert line.answer("x").body == b"hello"
    line.close()


@pytest.mark.parametrize("name", ["localhost", "elsewhere.example"])
def test_a_certificate_of_a_stranger_or_for_another_name_is_refused(peer, authority: Authority, name: str) -> None:
    there = peer(tls=authority.server(name))
    options = "" if name == "localhost" else f"?ca_file={authority.file}"
    with pytest.raises(BrokerUnreachable, match="certificate") as caught:
        there.server(options=options).line().send(Ask("GET", "/x"))
    assert "ca_file" in (caught.value.hint or "")
    assert there.requests == []


def test_a_file_of_authorities_that_holds_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(MisuseError, match=name):
            tls_of(HttpUrl.parse(f"https://x?ca_file={tmp_path / name}"))
    assert tls_of(HttpUrl.parse("http://x")) is None


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_the_bell_ends_a_wait_and_the_answer_comes_all_the_same(peer, authority: Authority, is_tls: bool) -> None:
    there = peer(lambda _request: reply(200, b"late") if there.closed.wait(0.3) is False else None, authority.server("localhost") if is_tls else None)
    line, bell = there.server(options=f"?ca_file={authority.file}" if is_tls else "").line(), Bell()
    line.send(Ask("GET", "/x"))
    waker, began = threading.Timer(0.05, bell.ring), time.monotonic()
    waker.start()
    while time.monotonic() < began + 0.04:
        assert not line.has_answer(0.04, bell)   # with TLS a session ticket comes in between
    assert not line.has_answer(SOON, bell)
    assert time.monotonic() - began < SOON / 2
    while not line.has_answer(SOON, bell):   # another ticket, or the bell only now
        assert time.monotonic() - began < SOON
    assert line.answer("x").body == b"late"
    waker.join()
    bell.close()
    bell.ring()   # after the end it does nothing
    bell.close()
    line.close()


def test_a_bell_that_rang_before_the_wait_ends_it_once() -> None:
    bell, began = Bell(), time.monotonic()
    for _ in range(70_000):   # more than a pipe holds
        bell.ring()
    while time.monotonic() - began < SOON:
        before = time.monotonic()
        bell.wait(BRIEF)
        if time.monotonic() - before >= BRIEF:
            break
    assert time.monotonic() - began < SOON
    bell.close()


def test_an_answer_that_says_that_it_is_the_last_is_read_to_its_end(peer) -> None:
    body = bytes(3_000_000)
    there = peer(lambda _request: reply(200, body, {"Connection": "close"}))
    line = there.line()
    for _ in range(2):
        line.send(Ask("GET", "/x"))
        assert line.answer("x").body == body
    assert there.connections == 2
    line.close()


@contextmanager
def connected() -> Iterator[tuple[Wire, socket.socket]]:
    """A wire and the other end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = Wire(HttpUrl.parse(f"http://127.0.0.1:{listener.getsockname()[1]}"), None)
        other, _ = listener.accept()
    with other:
        yield wire, other
    wire.end()


@pytest.fixture
def pair() -> Iterator[tuple[Wire, socket.socket]]:
    """A wire and the other end of it."""
    with connected() as both:
        yield both


def test_few_bytes_on_a_slow_line_are_given_out_and_only_none_at_all_is_silence(pair, monkeypatch: pytest.MonkeyPatch) -> None:
    wire, other = pair
    monkeypatch.setattr(http_wire, "SILENCE_SECONDS", BRIEF)
    wire._socket.settimeout(BRIEF)
    other.sendall(b"few")
    buffer = bytearray(MIB)
    assert wire.receive_into(buffer) == 3
    assert buffer[:3] == b"few"
    with pytest.raises(TimeoutError):
        wire.receive_into(buffer)
    other.sendall(b"more")
    assert wire.has_bytes(SOON)   # of whatever size, after a large read, too
    assert wire.receive_into(buffer) == 4


def test_what_goes_in_small_pieces_goes_whole_and_each_of_them_has_its_own_time(pair) -> None:
    wire, other = pair
    whole, sent = bytes(range(256)), list[bytes]()
    kept, wire._socket = wire._socket, SimpleNamespace(send=lambda left: sent.append(bytes(left[:7])) or 7 if len(left) > 7 else len(left))
    wire.sendall(memoryview(whole))
    assert (b"".join(sent), len(sent)) == (whole[:252], 36)
    wire._socket = kept
    reading = threading.Thread(target=lambda: sent.append(other.recv(len(whole) * 65536, socket.MSG_WAITALL)))
    reading.start()
    wire.sendall(whole * 65536)   # more than the kernel takes at once
    reading.join(SOON)
    assert sent[-1] == whole * 65536


def taken(wire: Wire, count: int) -> None:
    """Take so many bytes by large reads."""
    buffer, left = memoryview(bytearray(count)), count
    while left:
        left -= wire.receive_into(buffer[:left])


def test_what_is_little_is_not_waited_for_behind_a_large_read(pair) -> None:
    wire, other = pair
    other.sendall(bytes(MIB) + b"x")
    taken(wire, MIB)
    assert wire.has_bytes(SOON)
    buffer = bytearray(MIB)
    wire._socket.settimeout(BRIEF)   # it waits for more, but not for ever
    assert wire.receive_into(buffer) == 1
    other.close()
    assert wire.receive_into(buffer) == 0   # the end


def test_little_on_the_other_connection_ends_a_wait_behind_a_large_read_there(pair) -> None:
    wire, _ = pair
    with connected() as (beside, other):
        other.sendall(bytes(MIB))
        taken(beside, MIB)
        other.sendall(b"x")
        began = time.monotonic()
        assert not wire.has_bytes(SOON, beside=beside)
        assert time.monotonic() - began < SOON


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked to wait for more")
def test_much_is_waited_for_at_once(pair) -> None:
    wire, other = pair
    buffer, received = bytearray(MIB), list[int]()
    reader = threading.Thread(target=lambda: received.append(wire.receive_into(buffer)))
    other.sendall(bytes(LARGE_BYTES))
    reader.start()
    reader.join(BRIEF)
    assert reader.is_alive()
    other.sendall(bytes(GATHERED_BYTES - LARGE_BYTES))
    reader.join(SOON)
    assert received[0] > LARGE_BYTES
