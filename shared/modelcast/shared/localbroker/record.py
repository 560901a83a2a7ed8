"""What a private node keeps from one start to the next: its ports and its password.

Decides which ports are taken: loopback only, outside the range that the kernel hands out, never 5672 unless asked.
Refuses a record that it cannot read. Imports only the standard library and the errors.
"""

import json
import os
import random
import secrets
import socket
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from modelcast.shared.errors import HostFault, MisuseError

LOOPBACK = "127.0.0.1"
"""The only address that a private node listens on."""

# Below the ephemeral ranges (Linux from 32768, macOS from 49152) and off the ranges of RabbitMQ: an ephemeral port can be
# taken by any outgoing connection while the node is down, even by a client that is trying to reach that very port.
_PORTS = range(26_000, 32_000)
_TRIES = 200


@dataclass(frozen=True)
class NodeRecord:
    """The ports of a private node, all on loopback, and the password of its only user.

    Attributes:
        amqp_port: AMQP 0-9-1.
        stream_port: The stream protocol.
        dist_port: Erlang's distribution, for ``rabbitmqctl``.
        epmd_port: The port mapper of this node alone.
        password: Of the user ``modelcast``.
    """

    amqp_port: int
    stream_port: int
    dist_port: int
    epmd_port: int
    password: str

    @property
    def url(self) -> str:
        """The AMQP URL, with user, password and the virtual host ``/``."""
        return f"amqp://modelcast:{self.password}@{LOOPBACK}:{self.amqp_port}/%2F"


def new_record(amqp_port: int | None) -> NodeRecord:
    """Make a record with a new password and free ports.

    Args:
        amqp_port: The AMQP port that was asked for, or None for any.

    Raises:
        MisuseError: The port that was asked for is taken.
    """
    return _with_free_ports(NodeRecord(0, 0, 0, 0, secrets.token_hex(16)), amqp_port)


def settle_ports(record: NodeRecord, amqp_port: int | None) -> NodeRecord:
    """Return ``record`` with the ports of last time where they are still free, so that its URL stays the same.

    Args:
        record: The record of the last start; the node does not run.
        amqp_port: The AMQP port that is asked for now, or None for the one of last time.

    Raises:
        MisuseError: The port that was asked for is taken.
    """
    ports = (record.amqp_port, record.stream_port, record.dist_port, record.epmd_port)
    if amqp_port in {None, record.amqp_port} and all(_is_free(port) for port in ports):
        return record
    return _with_free_ports(record, amqp_port)


def read_record(path: Path) -> NodeRecord | None:
    """Read the record of a node, or None when it was never started.

    Raises:
        HostFault: The file is there but is no record.
    """
    try:
        return NodeRecord(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise HostFault(
            f"The state file {path} cannot be read: {error}", hint=f"Remove the folder {path.parent} and start again."
        ) from error


def write_record(path: Path, record: NodeRecord) -> None:
    """Write the record whole or not at all, readable by its owner only."""
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(asdict(record), stream)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


def _with_free_ports(record: NodeRecord, amqp_port: int | None) -> NodeRecord:
    if amqp_port is not None and not _is_free(amqp_port):
        raise MisuseError(
            f"Port {amqp_port} is taken.", hint="Leave --port out to get a free one.", facts={"port": amqp_port}
        )
    candidates = iter(random.SystemRandom().sample(_PORTS, _TRIES))
    free = [port for port in candidates if port != amqp_port and _is_free(port)][:4]
    if len(free) < 4:
        raise HostFault("Hardly a free port between 26000 and 32000 on this machine.", hint="End some servers and try again.")
    return replace(
        record, amqp_port=amqp_port or free[0], stream_port=free[1], dist_port=free[2], epmd_port=free[3]
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does: a port in TIME_WAIT from its last run is free, one that somebody listens on is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
