"""The configuration of gunicorn that the documentation shows: the code is loaded once, the consumer starts in each worker.

Imports gunicorn's arbiter at no time; gunicorn imports this.
"""

import gc

from tests.benchmarks import processes_role

workers = 4
preload_app = True


def when_ready(_server: object) -> None:
    """Keep the collector from touching, and so copying, what all workers share."""
    gc.freeze()


def post_fork(_server: object, _worker: object) -> None:
    """Start the consumer in the worker: threads do not survive a fork."""
    processes_role.start(processes_role.CONSUMER)


def worker_exit(_server: object, _worker: object) -> None:
    """Let another worker receive at once."""
    processes_role.CONSUMER.stop()
