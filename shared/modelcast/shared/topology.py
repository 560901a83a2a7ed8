"""Names and arguments of everything on the broker, as data.

Decides what exists: exchanges, queues, streams and bindings, all durable. Declares nothing itself. Imports the names.
The table in ``docs/how-it-works.md`` is held together with this module by a test.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from modelcast.shared.limits import GIB, KIB, MIB
from modelcast.shared.names import check_name

PREFIX = "modelcast"
DEAD = f"{PREFIX}.dead"
REPORTS = f"{PREFIX}.reports"
QUEUE_EXPIRES_MS = 7 * 24 * 3600 * 1000
"""An instance that was away longer finds the newest order in the history stream instead."""
CHUNKS_RETENTION_BYTES = 20 * GIB
MAX_SEGMENT_BYTES = 500 * MIB
"""Retention removes whole segments; RabbitMQ's own default."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange: ``kind`` is ``fanout`` or ``direct``."""

    name: str
    kind: str = "fanout"


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue or stream with its arguments. ``exclusive`` makes it a lock that ends with its connection."""

    name: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class Binding:
    """What an exchange passes on to a queue."""

    queue: str
    exchange: str
    routing_key: str = ""


Part = Exchange | Queue | Binding


def stream(name: str, *, max_bytes: int, segment_bytes: int, max_age: str | None = None) -> Queue:
    """Return a stream that keeps at most ``max_bytes``, and nothing older than ``max_age`` (such as ``7D``)."""
    arguments: dict[str, object] = {
        "x-queue-type": "stream", "x-max-length-bytes": max_bytes, "x-stream-max-segment-size-bytes": segment_bytes,
    }
    if max_age is not None:
        arguments["x-max-age"] = max_age
    return Queue(name, arguments)


def chunks_name(model: str) -> str:
    """Name of a model's chunk exchange and chunk stream."""
    return f"{PREFIX}.{check_name('model', model)}.chunks"


def releases_name(model: str) -> str:
    """Name of the exchange and stream that register what was begun and released of a model."""
    return f"{PREFIX}.{check_name('model', model)}.releases"


def orders_name(model: str, channel: str) -> str:
    """Name of a channel's order exchange."""
    return f"{PREFIX}.{check_name('model', model)}.{check_name('channel', channel)}"


def announcements_name(model: str, channel: str) -> str:
    """Name of the exchange through which a channel's instances hear of a release while it is still being sent."""
    return f"{orders_name(model, channel)}.announcements"


def history_name(model: str, channel: str) -> str:
    """Name of the stream that keeps every order of a channel."""
    return f"{orders_name(model, channel)}.history"


def instance_queue_name(model: str, channel: str, instance: str) -> str:
    """Name of the queue that holds an instance's orders."""
    return f"{orders_name(model, channel)}.at.{check_name('instance', instance)}"


def publishing_lock(model: str) -> Queue:
    """The exclusive queue that one publisher of a model holds from its beginning to its end: nobody else sends chunks."""
    return Queue(f"{PREFIX}.{check_name('model', model)}.publishing", exclusive=True)


def ordering_lock(model: str) -> Queue:
    """The exclusive queue that whoever orders holds, and a publisher but for the time in which it sends chunks."""
    return Queue(f"{PREFIX}.{check_name('model', model)}.ordering", exclusive=True)


def publisher_locks(model: str) -> list[Part]:
    """Both locks of a model's publishers."""
    return [publishing_lock(model), ordering_lock(model)]


def model_parts(model: str, *, retention_bytes: int = CHUNKS_RETENTION_BYTES) -> list[Part]:
    """What a model's publisher needs before it sends a chunk."""
    chunks = chunks_name(model)
    segment_bytes = max(16 * MIB, min(MAX_SEGMENT_BYTES, retention_bytes // 8))
    return [
        Exchange(chunks),
        stream(chunks, max_bytes=retention_bytes, segment_bytes=segment_bytes),
        Binding(chunks, chunks),
        *register_parts(model),
    ]


def register_parts(model: str) -> list[Part]:
    """What holds a model's register."""
    releases = releases_name(model)
    return [Exchange(releases), stream(releases, max_bytes=1 * GIB, segment_bytes=64 * MIB), Binding(releases, releases)]


def channel_parts(model: str, channel: str) -> list[Part]:
    """What a channel's publisher and instances need: order and announcement exchange, history, dead letters and reports."""
    orders, history = orders_name(model, channel), history_name(model, channel)
    return [
        Exchange(orders),
        stream(history, max_bytes=1 * GIB, segment_bytes=64 * MIB),
        Binding(history, orders),
        Exchange(announcements_name(model, channel)),
        *common_parts(),
    ]


def common_parts() -> list[Part]:
    """What all models share: the dead letters and the reports."""
    return [
        Exchange(DEAD, "direct"),
        Queue(DEAD, {"x-queue-type": "classic"}),   # classic: looking into a quorum queue can drop messages
        Binding(DEAD, DEAD, "dead"),
        Exchange(REPORTS),
        stream(REPORTS, max_bytes=2 * GIB, segment_bytes=16 * MIB, max_age="7D"),
        Binding(REPORTS, REPORTS),
    ]


def instance_parts(model: str, channel: str, instance: str, *, queue_type: str = "classic") -> list[Part]:
    """An instance's own durable queue, which survives its absence and passes on what it refuses."""
    name = instance_queue_name(model, channel, instance)
    arguments: dict[str, object] = {
        "x-queue-type": queue_type,
        "x-expires": QUEUE_EXPIRES_MS,
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-routing-key": "dead",
    }
    if queue_type == "quorum":
        arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
    return [
        Queue(name, arguments), Binding(name, orders_name(model, channel)), Binding(name, announcements_name(model, channel)),
    ]


def parts_of(model: str, channel: str, instances: Iterable[str]) -> list[Part]:
    """Return every queue, stream and exchange of a model's channel, and of the model."""
    parts: list[Part] = [Queue(instance_queue_name(model, channel, instance)) for instance in instances]
    parts += [
        Queue(history_name(model, channel)), Exchange(orders_name(model, channel)), Exchange(announcements_name(model, channel)),
    ]
    for name in (chunks_name(model), releases_name(model)):
        parts += [Queue(name), Exchange(name)]
    return parts


def target_of_queue(queue: str) -> tuple[str, str, str] | None:
    """Return model, channel and instance of an instance's queue name, or None if it is no such name."""
    parts = queue.split(".")
    if len(parts) != 5 or parts[0] != PREFIX or parts[3] != "at":
        return None
    return parts[1], parts[2], parts[4]


DEFAULT_EXCHANGE = ""
"""Passes a message on to the one queue that its routing key names; in RabbitMQ's permissions it is called ``amq.default``."""

HEADER_KIND = "mc-kind"
HEADER_RELEASE = "mc-release"
HEADER_VERSION = "mc-version"
HEADER_INDEX = "mc-index"
HEADER_COUNT = "mc-count"
HEADER_DIGEST = "mc-digest"
HEADER_CODEC = "mc-codec"
HEADER_SIZE = "mc-size"
HEADER_REPLAY = "mc-replay"
"""Headers of our messages: short strings and integers only, and hints only; trust comes from the manifest."""

MESSAGE_OVERHEAD_BYTES = 4 * KIB
"""What headers and framing add to a chunk, generously."""
