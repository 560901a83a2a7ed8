"""A network that a test can spoil: TCP proxies on loopback, whose toxics change while they run.

Decides nothing about what passes. One thread and one event loop for each proxy; what it does to the bytes of a direction stands in
its ``Way``. A connection that has lost bytes is never gone on with: ``heal`` resets it, as a network that forgot it would.
"""

import asyncio
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, Self

from modelcast.shared.broker_url import BrokerUrl

LOOPBACK = "127.0.0.1"
READ_BYTES = 64 * 1024
PATIENCE_SECONDS = 10.0
RESET = struct.pack("ii", 1, 0)
"""For ``SO_LINGER``: closing sends RST."""


@dataclass
class Way:
    """What happens to the bytes of one direction.

    Attributes:
        delay: Seconds that they are under way,
        jitter: more or less so many. They keep their order.
        swallow: They are read and lost; an end is not passed on either.
        stall: They are not read, and go on when this ends.
        slices: Smallest and largest number of bytes that are sent at once.
        rate: Bytes per second.
        cut_after: How many more bytes pass before the connection that carries the last of them is cut, once.
        cut_by: ``rst`` or ``fin``.
        lose_after: How many more bytes pass before everything is swallowed.
        passed: Bytes that went through.
        lost: Bytes that did not.
        record: Everything that passed, as long as it is not None.
    """

    delay: float = 0.0
    jitter: float = 0.0
    swallow: bool = False
    stall: bool = False
    slices: tuple[int, int] | None = None
    rate: float | None = None
    cut_after: int | None = None
    cut_by: str = "rst"
    lose_after: int | None = None
    passed: int = 0
    lost: int = 0
    record: bytearray | None = None
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    def clear(self) -> None:
        """Let everything pass."""
        self.delay = self.jitter = 0.0
        self.swallow = self.stall = False
        self.slices = self.rate = self.cut_after = self.lose_after = None

    @property
    def is_closed(self) -> bool:
        return self.swallow or self.stall

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Cut what was read into what is sent at once."""
        view = memoryview(data)
        while view:
            size = len(view) if self.slices is None else self.chance.randint(*self.slices)
            if self.rate is not None:
                size = min(size, max(1, int(self.rate / 20)))
            yield bytes(view[:size])
            view = view[size:]


UnderWay = asyncio.Queue[tuple[float, bytes]]
"""What was read and is not sent yet, each with the time when it is due; nothing for the end."""
Work = Callable[[Way, socket.socket, UnderWay], Awaitable[None]]


class _Passage:
    """One connection through the proxy: two sockets, and for each direction a task that reads and one that writes."""

    def __init__(self, proxy: "Proxy", client: socket.socket, server: socket.socket) -> None:
        self.sockets = (client, server)
        self.has_lost = False
        self.heard = asyncio.get_running_loop().time()
        self._proxy, self._open = proxy, 2
        self._tasks = [
            asyncio.ensure_future(self._guard(work, way, sock, under_way))
            for way, source, sink in ((proxy.up, client, server), (proxy.down, server, client))
            for under_way in (UnderWay(maxsize=64),)
            for work, sock in ((self._read, source), (self._write, sink))
        ]

    async def _guard(self, work: Work, way: Way, sock: socket.socket, under_way: UnderWay) -> None:
        try:
            await work(way, sock, under_way)
        except OSError:
            self.end("rst")   # one side broke: the other learns of it

    async def _read(self, way: Way, source: socket.socket, under_way: UnderWay) -> None:
        loop, due = asyncio.get_running_loop(), 0.0
        while True:
            await self._proxy.until(lambda: not way.stall)
            try:
                data = await loop.sock_recv(source, READ_BYTES if way.rate is None else 1024)
            except OSError:
                await self._proxy.until(lambda: not way.is_closed)   # nobody hears of it before
                raise
            self.heard = loop.time()
            if way.is_closed and not data:
                await self._proxy.until(lambda: not way.is_closed)
            if way.swallow:
                way.lost, self.has_lost = way.lost + len(data), True
                continue
            due = max(due, loop.time() + way.delay + way.jitter * way.chance.uniform(-1, 1)) if way.delay else 0.0
            await under_way.put((due, data))
            if not data:
                return

    async def _write(self, way: Way, sink: socket.socket, under_way: UnderWay) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await under_way.get()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            await self._proxy.until(lambda: not way.stall)
            for piece in way.pieces(self._before_loss(way, data) if way.lose_after is not None else data):
                last = way.cut_after is not None and len(piece) >= way.cut_after
                whole = piece[: way.cut_after] if last else piece
                await loop.sock_sendall(sink, whole)
                way.passed += len(whole)
                if way.record is not None:
                    way.record += whole
                if last:
                    self.end(self._proxy.take_cut(way))
                    return
                if way.cut_after is not None:
                    way.cut_after -= len(whole)
                if way.rate is not None:
                    await asyncio.sleep(len(piece) / way.rate)
            if not data:
                sink.shutdown(socket.SHUT_WR)
                self._open -= 1
                if not self._open:
                    self.end("fin")
                return

    def _before_loss(self, way: Way, data: bytes) -> bytes:
        """Return what still passes; the rest is lost, and all that comes after it."""
        left = way.lose_after or 0
        way.lose_after = max(0, left - len(data))
        if way.lose_after == 0:
            way.swallow, self.has_lost = True, True
            way.lost += len(data) - left
        return data[:left]

    def end(self, by: str) -> None:
        """Close both sides: ``rst``, or ``fin`` as far as what was received and not read allows."""
        passages = self._proxy.passages
        if self not in passages:
            return
        passages.remove(self)
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        loop = asyncio.get_running_loop()
        for sock in self.sockets:
            loop.remove_reader(sock)   # before the number of the descriptor is another one's
            loop.remove_writer(sock)
            with suppress(OSError):
                if by == "rst":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                else:
                    with suppress(BlockingIOError):
                        while sock.recv(READ_BYTES):
                            pass
            sock.close()


class Proxy:
    """Listens on loopback and passes everything on to another port there.

    Args:
        port: Where to.
        buffer_bytes: What the kernel may hold in each socket, or None for as much as it likes.

    Attributes:
        up: What happens to what is sent to ``port``; ``down`` what to the answers. Change them with ``set``.
        connections: How many were made.
        cuts: How many were cut because so many bytes had passed.
    """

    def __init__(self, port: int, *, buffer_bytes: int | None = None) -> None:
        self.up, self.down = Way(), Way()
        self.connections = self.cuts = 0
        self.passages: list[_Passage] = []
        self._target, self._buffer_bytes = port, buffer_bytes
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._listening: socket.socket | None = None
        self._kept: socket.socket | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self.port = 0
        self._thread = Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._do(self._listen)

    # ----------------------------------------------------------------- what a test may call

    def set(self, way: Way, **toxics: Any) -> None:
        """Change what happens to the bytes of a direction, from now on."""
        self._do(lambda: vars(way).update(toxics))

    def cut_after(self, way: Way, count: int, by: str = "rst") -> None:
        """Cut the connection that carries the ``count``th byte from now on, right behind it; at 0 the next that is made."""
        self.set(way, cut_after=count, cut_by=by)

    def cut(self, by: str = "rst") -> int:
        """Cut all connections now; returns how many there were."""
        return int(self._do(lambda: self._cut_those(lambda _passage: True, by)))

    def lose_after(self, way: Way, count: int) -> None:
        """Lose everything in a direction once ``count`` more bytes have passed."""
        self.set(way, lose_after=count, swallow=count == 0)

    def cut_idle(self, seconds: float) -> int:
        """Cut the connections over which nothing came for some time, in neither direction; returns how many there were."""
        return int(self._do(lambda: self._cut_those(lambda passage: self._loop.time() - passage.heard > seconds, "rst")))

    def black_hole(self, *ways: Way) -> None:
        """Lose what is sent in these directions, in both without any."""
        for way in ways or (self.up, self.down):
            self.set(way, swallow=True)

    def refuse(self) -> None:
        """Listen no more; what is connected stays."""
        self._do(self._stop_listening)

    def heal(self) -> None:
        """Let everything pass; what has lost bytes is reset."""
        def all_well() -> None:
            self.up.clear()
            self.down.clear()
            self._cut_those(lambda passage: passage.has_lost, "rst")
            if self._listening is None:
                self._listen()

        self._do(all_well)

    def count(self) -> tuple[int, int]:
        """Return how many bytes passed, up and down, since this was asked last."""
        def counted() -> tuple[int, int]:
            found = self.up.passed, self.down.passed
            self.up.passed = self.down.passed = 0
            return found

        found: tuple[int, int] = self._do(counted)
        return found

    def close(self) -> None:
        """Cut everything and end the thread."""
        self._do(self._stop_listening)
        if self._kept is not None:
            self._kept.close()
        self._do(lambda: [task.cancel() for task in self._opening])
        self.cut()
        asyncio.run_coroutine_threadsafe(self._settle(), self._loop).result(PATIENCE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ----------------------------------------------------------------- in the loop

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a toxic is changed so that ``condition()``."""
        while not condition():
            await self._changed.wait()

    def take_cut(self, way: Way) -> str:
        """Note that a cut happened; returns by what."""
        way.cut_after, self.cuts = None, self.cuts + 1
        return way.cut_by

    def _do(self, act: Callable[[], Any]) -> Any:
        async def acted() -> Any:
            result = act()
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()
            return result

        return asyncio.run_coroutine_threadsafe(acted(), self._loop).result(PATIENCE_SECONDS)

    async def _settle(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _cut_those(self, chosen: Callable[[_Passage], bool], by: str) -> int:
        passages = [passage for passage in self.passages if chosen(passage)]
        for passage in passages:
            passage.end(by)
        return len(passages)

    def _bound(self) -> socket.socket:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._buffer_bytes is not None:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer_bytes)
        bound.bind((LOOPBACK, self.port))
        return bound

    def _listen(self) -> None:
        listening, self._kept = self._kept or self._bound(), None
        listening.listen(64)
        listening.setblocking(False)
        self.port = listening.getsockname()[1]
        self._listening = listening
        self._loop.add_reader(listening, self._accept, listening)

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._loop.remove_reader(self._listening)
            self._listening.close()
            self._listening = None
            self._kept = self._bound()   # refuses, and keeps the port from everybody else

    def _accept(self, listening: socket.socket) -> None:
        with suppress(BlockingIOError):
            client, _ = listening.accept()
            client.setblocking(False)
            opening = self._loop.create_task(self._open(client))
            self._opening.add(opening)
            opening.add_done_callback(lambda done: self._opened(done, client))

    def _opened(self, done: asyncio.Task[None], client: socket.socket) -> None:
        self._opening.discard(done)
        if done.cancelled():
            client.close()

    async def _open(self, client: socket.socket) -> None:
        self.connections += 1
        server = socket.socket()
        try:
            server.setblocking(False)
            if self._buffer_bytes is not None:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer_bytes)
            await self._loop.sock_connect(server, (LOOPBACK, self._target))
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            server.close()
            return
        except asyncio.CancelledError:
            server.close()
            raise
        passage = _Passage(self, client, server)
        self.passages.append(passage)
        for way in (self.up, self.down):
            if way.cut_after == 0:
                passage.end(self.take_cut(way))


class Network:
    """The way to a broker: a proxy before each of its two ports.

    Args:
        url: The broker.
        stream_port: Its port of the stream protocol.
        buffer_bytes: See ``Proxy``.
    """

    def __init__(self, url: str, stream_port: int | None, *, buffer_bytes: int | None = None) -> None:
        assert stream_port is not None
        self._url = url
        self.amqp = Proxy(BrokerUrl.parse(url).port, buffer_bytes=buffer_bytes)
        self.stream = Proxy(stream_port, buffer_bytes=buffer_bytes)
        self.both = (self.amqp, self.stream)

    def url(self, **options: object) -> str:
        """Return the broker's address through the proxies: ``heartbeat=1``, ``chunks="stream"``."""
        account, _, rest = self._url.rpartition("@")
        options = {"stream_port": self.stream.port, **options}
        return f"{account}@{LOOPBACK}:{self.amqp.port}/{rest.partition('/')[2]}?" + "&".join(f"{k}={v}" for k, v in options.items())

    def heal(self) -> None:
        """Let everything pass."""
        for proxy in self.both:
            proxy.heal()

    def cut(self, by: str = "rst") -> int:
        """Cut all connections now; returns how many there were."""
        return sum(proxy.cut(by) for proxy in self.both)

    def close(self) -> None:
        """End both proxies."""
        for proxy in self.both:
            proxy.close()
