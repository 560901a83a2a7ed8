"""All contenders, in the order of the tables.

Decides which rows a comparison has. Importing it loads no client library.
"""

from tests.benchmarks.contender import Contender
from tests.benchmarks.contenders.file_copy import FileCopy
from tests.benchmarks.contenders.over_http import OverHttp
from tests.benchmarks.contenders.over_nats import OverNats
from tests.benchmarks.contenders.over_pika import OverPika
from tests.benchmarks.contenders.over_redis import OverRedis
from tests.benchmarks.contenders.raw_tcp import RawTcp
from tests.benchmarks.contenders.through_modelcast import ThroughModelcast
from tests.benchmarks.servers import HttpDepot, RabbitMq, SharedDirectory

_KIB = 1024
CHUNK_BYTES = (64 * _KIB, 256 * _KIB, 1024 * _KIB, 4096 * _KIB, 8192 * _KIB)
"""Chunk sizes of the growth curves."""

_rabbitmq, _directory, _server = RabbitMq(), SharedDirectory(), HttpDepot()
LIMIT = RawTcp()

FANOUT: tuple[Contender, ...] = (
    LIMIT,
    ThroughModelcast("modelcast", "**modelcast**", _rabbitmq),
    ThroughModelcast("modelcast-stream", "modelcast, stream protocol", _rabbitmq, chunks="stream"),
    ThroughModelcast("modelcast-amqp", "modelcast, AMQP", _rabbitmq, chunks="amqp"),
    ThroughModelcast("modelcast-late", "modelcast, late joiners", _rabbitmq, is_late=True),
    ThroughModelcast("modelcast-file", "modelcast, shared directory", _directory),
    ThroughModelcast("modelcast-file-late", "modelcast, shared directory, late joiners", _directory, is_late=True),
    ThroughModelcast("modelcast-http", "modelcast, HTTP", _server),
    ThroughModelcast("modelcast-http-late", "modelcast, HTTP, late joiners", _server, is_late=True),
    FileCopy(),
    OverHttp(),
    OverRedis(),
    OverPika(_rabbitmq),
    OverNats(),
)
"""The rows of the comparison."""

CHUNKED: tuple[Contender, ...] = tuple(
    ThroughModelcast(f"modelcast-{count // _KIB}k", f"modelcast, chunks of {count // _KIB} KiB", _rabbitmq, chunk_bytes=count)
    for count in CHUNK_BYTES
)

BY_NAME: dict[str, Contender] = {contender.name: contender for contender in (*FANOUT, *CHUNKED)}
