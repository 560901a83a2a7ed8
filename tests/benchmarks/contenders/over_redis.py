"""Redis: chunks of 1 MiB under keys of their own, and a message of Redis when all are there; read with hiredis, as it recommends."""

from collections.abc import Iterator

from tests.benchmarks.contender import Arriving, Notice, pieces
from tests.benchmarks.servers import LOOPBACK, Redis
from tests.benchmarks.task import Mark, Task

PATIENCE_SECONDS = 300.0


class OverRedis:
    """``SET`` of each chunk, ``PUBLISH``; ``SUBSCRIBE``, ``GET`` of each chunk."""

    name = "redis"
    title = "Redis"
    is_late = False

    def __init__(self) -> None:
        self.server = Redis()

    def missing(self) -> str | None:
        """Say what to install."""
        return self.server.missing()

    def publish(self, task: Task) -> Iterator[Mark]:
        """Set all chunks, then say how many there are."""
        import redis

        with redis.Redis(host=LOOPBACK, port=task.server["port"]) as client:
            client.ping()
            yield Mark.now("ready")
            count = 0
            for piece in pieces(task.source):
                client.set(f"{task.label}:{count}", piece)
                count += 1
            client.publish(task.label, count)
            yield Mark.now("published")

    def receive(self, task: Task, notice: Notice) -> Iterator[Mark]:
        """Wait for the message, then get all chunks."""
        import redis

        with redis.Redis(host=LOOPBACK, port=task.server["port"]) as client, client.pubsub() as ear, Arriving(task) as arriving:
            ear.subscribe(task.label)
            while (message := ear.get_message(timeout=PATIENCE_SECONDS)) is None or message["type"] != "subscribe":
                continue
            client.ping()
            yield Mark.now("ready")
            while (message := ear.get_message(timeout=PATIENCE_SECONDS)) is None or message["type"] != "message":
                continue
            for number in range(int(message["data"])):
                arriving.write(client.get(f"{task.label}:{number}"))
            yield arriving.verified()
