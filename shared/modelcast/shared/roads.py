"""Which road a URL means: the only place that knows all roads. Imports a road only when its URL is given."""

from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import MisuseError
from modelcast.shared.operating_road import OpenRoad
from modelcast.shared.road import Road
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


def open_road(
    url: str, *, retention_bytes: int = CHUNKS_RETENTION_BYTES, queue_type: str = "classic", token: str | None = None
) -> OpenRoad:
    """Return the road that ``url`` names; nothing is connected yet.

    Args:
        url: ``amqp://…`` or ``amqps://…``. Chunks are read by the stream protocol where its port answers, otherwise by AMQP; the
            option ``chunks=stream`` or ``chunks=amqp`` forces one, ``stream_port=…`` says which port it is. Or ``file:///srv/models``,
            a directory that all share; the option ``poll=…`` says how many seconds lie between two looks, and
            ``allow_shared_writes=yes`` that other users may write it. Or ``https://models.example``, a server of releases; the option
            ``token_file=…`` names the file of its token, ``ca_file=…`` that of the authorities to trust, ``connections=…`` over how
            many connections chunks are fetched, and ``allow_plain=yes`` lets a token travel by ``http://`` to another host.
        retention_bytes: How much the chunk stream of a new model keeps.
        queue_type: ``classic`` or ``quorum`` for the instances' order queues.

        token: The token for a server; left out it comes from the file that the URL names, or from ``MODELCAST_TOKEN``.

    Raises:
        MisuseError: The URL names no road.
    """
    scheme = url.partition("://")[0]
    if scheme == "file":
        from modelcast.shared.file_road import FileRoad  # noqa: PLC0415 - see above
        from modelcast.shared.file_url import FileUrl  # noqa: PLC0415

        return FileRoad(FileUrl.parse(url))
    if scheme in {"http", "https"}:
        return _http_road(url, token)
    if scheme not in {"amqp", "amqps"}:
        raise MisuseError(
            "This is no address that modelcast knows.",
            hint="Write amqp://user:password@host:5672/vhost, amqps:// for TLS, file:///srv/models for a shared directory, or "
            "https://models.example for a server.",
        )
    if queue_type not in {"classic", "quorum"}:
        raise MisuseError(f"{queue_type!r} is no queue type.", hint="Use 'classic', or 'quorum' on a cluster.")
    from modelcast.shared.pika_link import PikaBroker  # noqa: PLC0415 - 120 ms that other roads need not pay
    from modelcast.shared.stream_source import ChosenChunks  # noqa: PLC0415 - loads TLS

    broker = PikaBroker(url)
    return AmqpRoad(broker, retention_bytes=retention_bytes, queue_type=queue_type, open_chunks=ChosenChunks(broker.url).open)


def _http_road(url: str, token: str | None) -> OpenRoad:
    import os  # noqa: PLC0415 - the token's variable is read when the road is opened

    from modelcast.shared.http_line import Server  # noqa: PLC0415 - loads TLS
    from modelcast.shared.http_road import HttpRoad  # noqa: PLC0415
    from modelcast.shared.http_token import token_of  # noqa: PLC0415
    from modelcast.shared.http_url import HttpUrl  # noqa: PLC0415

    address = HttpUrl.parse(url)
    return HttpRoad(Server(address, token_of(address, token, os.environ)))
