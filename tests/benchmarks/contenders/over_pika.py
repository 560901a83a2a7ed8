"""RabbitMQ with pika as its tutorials show it: a persistent message for each MiB, a durable classic queue for each instance."""

from collections.abc import Iterator
from contextlib import closing

from tests.benchmarks.contender import Arriving, Notice, Server, pieces
from tests.benchmarks.task import Mark, Task

PREFETCH = 32
"""Without a limit the broker pushes everything into the client's memory."""


class OverPika:
    """``BlockingConnection``, publisher confirms, a fanout exchange; each message acknowledged.

    Args:
        server: The RabbitMQ that modelcast uses as well.
    """

    name = "pika"
    title = "plain pika"
    is_late = False

    def __init__(self, server: Server) -> None:
        self.server = server

    def missing(self) -> str | None:
        """Say what to install."""
        return self.server.missing()

    def publish(self, task: Task) -> Iterator[Mark]:
        """Publish piece by piece; in confirm mode each waits for the broker."""
        import pika

        with closing(pika.BlockingConnection(pika.URLParameters(task.server["amqp_url"]))) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.exchange_declare(task.label, "fanout")
            yield Mark.now("ready")
            persistent = pika.BasicProperties(delivery_mode=2)
            for piece in pieces(task.source):
                channel.basic_publish(task.label, "", piece, persistent)
            yield Mark.now("published")
            channel.exchange_delete(task.label)

    def receive(self, task: Task, notice: Notice) -> Iterator[Mark]:
        """Consume and acknowledge until all is there, then remove the queue."""
        import pika

        queue = f"{task.label}.{task.number}"
        with closing(pika.BlockingConnection(pika.URLParameters(task.server["amqp_url"]))) as connection, Arriving(task) as arriving:
            channel = connection.channel()
            channel.exchange_declare(task.label, "fanout")
            channel.queue_declare(queue, durable=True)
            channel.queue_bind(queue, task.label)
            channel.basic_qos(prefetch_count=PREFETCH)
            consuming = channel.consume(queue)
            connection.process_data_events(0)
            yield Mark.now("ready")
            for method, _, body in consuming:
                arriving.write(body)
                channel.basic_ack(method.delivery_tag)
                if not arriving.left:
                    break
            yield arriving.verified()
            channel.cancel()
            channel.queue_delete(queue)
