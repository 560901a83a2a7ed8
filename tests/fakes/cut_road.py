"""A road that breaks once, at a chosen chunk: while it is sent or while it is received. Everything else passes through."""

from typing import Any

from modelcast.shared.errors import BrokerUnreachable
from modelcast.shared.road import ArrivedChunk, ChunkSource, Road, Wanted


class CutRoad:
    """See ``road.Road``.

    Args:
        road: The road that breaks.
        sends: Chunks that are sent before it does, or None.
        receives: Chunks that are received before it does, or None.

    Attributes:
        offsets: From where chunks were read, each time.
    """

    def __init__(self, road: Road, *, sends: int | None = None, receives: int | None = None) -> None:
        self._road, self.sends, self.receives = road, sends, receives
        self.offsets: list[int | None] = []

    def publish(self, model: str, channel: str, *, sends: bool = True) -> Any:
        return _Session(self._road.publish(model, channel, sends=sends), self)

    def chunks(self, model: str, offset: int | None, wanted: "Wanted | None" = None) -> "ChunkSource":
        self.offsets.append(offset)
        return _Source(self._road.chunks(model, offset, wanted), self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._road, name)


class _Session:
    def __init__(self, session: Any, road: CutRoad) -> None:
        self._session, self.chunks = session, _Sink(session.chunks, road)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class _Sink:
    def __init__(self, sink: Any, road: CutRoad) -> None:
        self._sink, self._road = sink, road

    def send(self, body: bytes | memoryview, **facts: Any) -> None:
        if self._road.sends == 0:
            self._road.sends = None
            raise BrokerUnreachable("cut by a test")
        if self._road.sends is not None:
            self._road.sends -= 1
        self._sink.send(body, **facts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)


class _Source:
    def __init__(self, source: ChunkSource, road: CutRoad) -> None:
        self._source, self._road = source, road
        self.name = source.name

    def receive(self, seconds: float) -> ArrivedChunk | None:
        if self._road.receives == 0:
            self._road.receives = None
            raise BrokerUnreachable("cut by a test")
        if self._road.receives is not None:
            self._road.receives -= 1
        return self._source.receive(seconds)

    def close(self) -> None:
        self._source.close()
