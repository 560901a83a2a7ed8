"""The proxy does to bytes what it says, and nothing else."""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event, Thread

import pytest
from tests.fakes.proxy import Proxy

SOON = 10.0
BRIEF = 0.2


class Echo:
    """Sends back what it gets, until the end."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.ends: list[str] = []
        Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = self._listening.accept()
                Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with accepted:
            try:
                while data := accepted.recv(65536):
                    accepted.sendall(data)
                self.ends.append("fin")
            except OSError:
                self.ends.append("rst")

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.port) as proxy:
        yield proxy


@pytest.fixture
def line(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=SOON) as line:
        yield line


def whole(line: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count and (data := line.recv(65536)):
        found += data
    return found


def nothing_comes(line: socket.socket) -> bool:
    line.settimeout(BRIEF)
    try:
        line.recv(1)
    except TimeoutError:
        return True
    finally:
        line.settimeout(SOON)
    return False


def wait_until(condition: Callable[[], object]) -> bool:
    deadline, pause = time.monotonic() + SOON, Event()
    while not condition() and time.monotonic() < deadline:
        pause.wait(0.01)
    return bool(condition())


def test_everything_passes_and_is_counted(proxy: Proxy, line: socket.socket) -> None:
    data = bytes(range(256)) * 4000
    Thread(target=line.sendall, args=(data,), daemon=True).start()
    assert whole(line, len(data)) == data
    assert (proxy.connections, proxy.count(), proxy.count()) == (1, (len(data), len(data)), (0, 0))


def test_an_end_is_passed_on_as_an_end_and_a_reset_as_a_reset(proxy: Proxy, echo: Echo, line: socket.socket) -> None:
    line.shutdown(socket.SHUT_WR)
    assert line.recv(1) == b""
    assert wait_until(lambda: echo.ends == ["fin"])
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=SOON) as other:
        other.sendall(b"x")
        assert other.recv(1) == b"x"
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert wait_until(lambda: echo.ends == ["fin", "rst"])


@pytest.mark.parametrize("count", [1, 7, 99])
@pytest.mark.parametrize("side", ["up", "down"])
@pytest.mark.parametrize("by", ["rst", "fin"])
def test_a_cut_lets_exactly_so_many_bytes_pass_and_happens_once(
    proxy: Proxy, line: socket.socket, count: int, side: str, by: str
) -> None:
    way = getattr(proxy, side)
    proxy.cut_after(way, count, by)
    line.sendall(bytes(100))
    found = b""
    try:
        while data := line.recv(1000):
            found += data
        seen = "fin"
    except ConnectionResetError:
        seen = "rst"
    assert seen == by
    assert (way.passed, proxy.cuts) == (count, 1)
    assert len(found) == count if side == "down" else len(found) <= count
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=SOON) as other:
        other.sendall(bytes(200))
        assert whole(other, 200) == bytes(200)


def test_a_cut_at_the_first_byte_takes_the_next_connection(proxy: Proxy) -> None:
    proxy.cut_after(proxy.up, 0)
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", proxy.port), timeout=SOON) as line:
        line.recv(1)
    assert (proxy.cuts, proxy.count()) == (1, (0, 0))


@pytest.mark.parametrize("side", ["up", "down"])
def test_a_black_hole_loses_bytes_and_the_end_and_healing_resets(proxy: Proxy, echo: Echo, line: socket.socket, side: str) -> None:
    way = getattr(proxy, side)
    proxy.black_hole(way)
    line.sendall(b"lost")
    assert nothing_comes(line)
    assert wait_until(lambda: (way.lost, way.passed) == (4, 0))
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        line.recv(1)
    assert wait_until(lambda: echo.ends == ["rst"])


def test_a_black_hole_may_open_behind_a_byte(proxy: Proxy, line: socket.socket) -> None:
    proxy.lose_after(proxy.down, 5)
    line.sendall(b"123")
    assert whole(line, 3) == b"123"
    line.sendall(b"45678")
    assert whole(line, 2) == b"45"
    line.sendall(b"9")
    assert nothing_comes(line)
    assert wait_until(lambda: (proxy.down.passed, proxy.down.lost) == (5, 4))


def test_an_end_that_falls_into_a_black_hole_is_not_heard_of(proxy: Proxy, echo: Echo) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=SOON) as line:
        line.sendall(b"x")
        assert line.recv(1) == b"x"
        proxy.black_hole()
        line.sendall(b"y")
    assert wait_until(lambda: proxy.up.lost == 1)
    assert len(proxy.passages) == 1
    assert not echo.ends
    proxy.heal()
    assert wait_until(lambda: echo.ends)


def test_what_is_stalled_goes_on_unharmed(proxy: Proxy, line: socket.socket) -> None:
    proxy.set(proxy.down, stall=True)
    line.sendall(b"late")
    assert nothing_comes(line)
    proxy.heal()
    assert whole(line, 4) == b"late"


def test_what_is_delayed_comes_late_in_order_and_not_one_after_the_other(proxy: Proxy, line: socket.socket) -> None:
    proxy.set(proxy.up, delay=BRIEF, jitter=BRIEF / 2)
    began = time.monotonic()
    for number in range(20):
        line.sendall(bytes([number]))
    assert whole(line, 20) == bytes(range(20))
    assert BRIEF / 2 <= time.monotonic() - began < 20 * BRIEF


def test_a_slow_line_takes_its_time_and_slices_keep_the_bytes(proxy: Proxy, line: socket.socket) -> None:
    data = bytes(range(250)) * 20
    proxy.set(proxy.down, rate=20_000, slices=(1, 100))
    began = time.monotonic()
    line.sendall(data)
    assert whole(line, 5000) == data
    assert time.monotonic() - began >= 0.2


def test_a_proxy_that_refuses_is_not_there_until_it_is_healed(proxy: Proxy, line: socket.socket) -> None:
    line.sendall(b"x")
    assert line.recv(1) == b"x"
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=SOON)
    line.sendall(b"y")
    assert line.recv(1) == b"y"
    proxy.heal()
    socket.create_connection(("127.0.0.1", proxy.port), timeout=SOON).close()


def test_all_connections_can_be_cut_at_once(proxy: Proxy, line: socket.socket) -> None:
    line.sendall(b"x")
    assert line.recv(1) == b"x"
    assert (proxy.cut(), proxy.cut()) == (1, 0)
    with pytest.raises(ConnectionResetError):
        line.recv(1)


def test_where_nobody_listens_the_client_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        Proxy(port) as proxy, pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", proxy.port), timeout=SOON) as line,
    ):
        line.recv(1)
