"""Which road a URL means: the only place that knows all roads. Imports a road only when its URL is given."""

from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import MisuseError
from modelcast.shared.road import OpenRoad, Road
from modelcast.shared.topology import CHUNKS_RETENTION_BYTES


def as_road(url: str | Road, *, retention_bytes: int = CHUNKS_RETENTION_BYTES, queue_type: str = "classic") -> Road:
    """Return the road that a caller named by its URL or handed in; see ``open_road``.

    Raises:
        MisuseError: It is neither.
    """
    if isinstance(url, str):
        return open_road(url, retention_bytes=retention_bytes, queue_type=queue_type)
    if type(url).__module__ == "builtins":   # None above all: the variable was not set
        raise MisuseError(f"A {type(url).__name__} is no address of a broker.", hint="Is the variable set that should hold the URL?")
    return url


def open_road(url: str, *, retention_bytes: int = CHUNKS_RETENTION_BYTES, queue_type: str = "classic") -> OpenRoad:
    """Return the road that ``url`` names; nothing is connected yet.

    Args:
        url: ``amqp://…`` or ``amqps://…``. Chunks are read by the stream protocol where its port answers, otherwise by AMQP; the
            option ``chunks=stream`` or ``chunks=amqp`` forces one, ``stream_port=…`` says which port it is. Or ``file:///srv/models``,
            a directory that all share; the option ``poll=…`` says how many seconds lie between two looks, and
            ``allow_shared_writes=yes`` that other users may write it.
        retention_bytes: How much the chunk stream of a new model keeps.
        queue_type: ``classic`` or ``quorum`` for the instances' order queues.

    Raises:
        MisuseError: The URL names no road.
    """
    scheme = url.partition("://")[0]
    if scheme == "file":
        from modelcast.shared.file_road import FileRoad  # noqa: PLC0415 - see above
        from modelcast.shared.file_url import FileUrl  # noqa: PLC0415

        return FileRoad(FileUrl.parse(url))
    if scheme not in {"amqp", "amqps"}:
        raise MisuseError(
            "This is no address that modelcast knows.",
            hint="Write amqp://user:password@host:5672/vhost, amqps:// for TLS, or file:///srv/models for a shared directory.",
        )
    if queue_type not in {"classic", "quorum"}:
        raise MisuseError(f"{queue_type!r} is no queue type.", hint="Use 'classic', or 'quorum' on a cluster.")
    from modelcast.shared.pika_link import PikaBroker  # noqa: PLC0415 - 120 ms that other roads need not pay
    from modelcast.shared.stream_source import ChosenChunks  # noqa: PLC0415 - loads TLS

    broker = PikaBroker(url)
    return AmqpRoad(broker, retention_bytes=retention_bytes, queue_type=queue_type, open_chunks=ChosenChunks(broker.url).open)
