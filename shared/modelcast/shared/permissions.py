"""What a user of a broker may do, role by role: the names that a role touches, and RabbitMQ's patterns that allow no more.

Decides the least that a publisher, an instance, an operator and one who sends dead letters back need. Most of it follows from what
each declares; the rest is what it posts to and reads. Pure. Imports the topology.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from modelcast.shared import topology as names
from modelcast.shared.topology import Binding, Exchange, Part, Queue

ANY = "*"
"""Stands for any instance; no name has this character."""
SHARED = (names.DEAD, names.REPORTS)
DEFAULT_EXCHANGE = "amq.default"
"""As RabbitMQ's permissions call it: through it a message goes into one queue, whichever it is."""


class Role(StrEnum):
    """Who uses a broker."""

    PUBLISHER = "publisher"
    INSTANCE = "instance"
    OPERATOR = "operator"
    REPLAYER = "replayer"
    """Sends dead letters back, which takes the right to write into every queue of the virtual host: for people, not for programs."""


@dataclass(frozen=True, slots=True)
class Needs:
    """The names that a role must be allowed to use, by RabbitMQ's three permissions.

    Attributes:
        configure: What it declares.
        write: What it posts to, or binds.
        read: What it reads from, or binds to.
    """

    configure: tuple[str, ...]
    write: tuple[str, ...]
    read: tuple[str, ...]

    def items(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        """Return each permission with its names, in the order of ``rabbitmqctl set_permissions``."""
        return [("configure", self.configure), ("write", self.write), ("read", self.read)]


@dataclass(frozen=True, slots=True)
class Patterns:
    """RabbitMQ's three regular expressions."""

    configure: str
    write: str
    read: str

    def command(self, user: str, vhost: str) -> str:
        """Return the line for a shell that grants them; it replaces what was granted before."""
        patterns = [f"'{pattern}'" for pattern in (self.configure, self.write, self.read)]   # no name holds a quote
        return " ".join(["rabbitmqctl set_permissions -p", shlex.quote(vhost), shlex.quote(user), *patterns])


def needs(role: Role, model: str, channel: str, instance: str | None = None) -> Needs:
    """Return what a role uses of a channel; ``instance`` is the one that there is, None stands for any."""
    parts = _declared(role, model, channel)
    posts, reads = _posted_and_read(role, model, channel)
    bindings = [part for part in parts if isinstance(part, Binding)]
    configure = [part.name for part in parts if isinstance(part, Exchange | Queue)]
    write = [*posts, *(binding.queue for binding in bindings)]   # dead letters need no more: whoever sends some declares `DEAD`, too
    read = [*reads, *(binding.exchange for binding in bindings)]
    mine = names.instance_queue_name(model, channel, _PLACEHOLDER)
    wanted = f"{names.orders_name(model, channel)}.at.{instance or ANY}"
    named = [tuple(dict.fromkeys(wanted if name == mine else name for name in listed)) for listed in (configure, write, read)]
    return Needs(*named)


_PLACEHOLDER = "0"


def _declared(role: Role, model: str, channel: str) -> list[Part]:
    if role is Role.PUBLISHER:
        return [*names.publisher_locks(model), *names.model_parts(model), *names.channel_parts(model, channel)]
    if role is Role.INSTANCE:
        return [*names.channel_parts(model, channel), *names.instance_parts(model, channel, _PLACEHOLDER)]
    if role is Role.REPLAYER:
        return names.common_parts()
    return [*names.register_parts(model), *names.common_parts()]


def _posted_and_read(role: Role, model: str, channel: str) -> tuple[list[str], list[str]]:
    """Return where a role posts and what it reads; markers count, which tell a reader where the past of a stream ends."""
    chunks, register, history = names.chunks_name(model), names.releases_name(model), names.history_name(model, channel)
    if role is Role.PUBLISHER:
        orders = [names.orders_name(model, channel), names.announcements_name(model, channel)]
        return [chunks, register, *orders, names.REPORTS], [chunks, register, names.REPORTS]
    if role is Role.INSTANCE:
        return [names.REPORTS], [chunks, history, names.instance_queue_name(model, channel, _PLACEHOLDER)]
    if role is Role.REPLAYER:
        return [DEFAULT_EXCHANGE, names.REPORTS], [names.DEAD, names.REPORTS]
    return [register, names.REPORTS], [register, names.DEAD, names.REPORTS]


def patterns(role: Role, targets: Iterable[tuple[str, str]], instance: str | None = None) -> Patterns:
    """Return the patterns that allow a role in some channels and nothing else.

    Args:
        role: The role.
        targets: Models, each with a channel. A user has one set of patterns in a virtual host, so all of its channels belong here.
        instance: The only instance, or None for any.
    """
    each = [(model, needs(role, model, channel, instance)) for model, channel in targets]
    return Patterns(*(
        _pattern([(model, getattr(needed, permission)) for model, needed in each]) for permission in ("configure", "write", "read")
    ))


def _pattern(each: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Return one expression for the names of some models; what stands below a model is put together."""
    below: dict[str, list[str]] = {}
    shared: list[str] = []
    outside = ""
    for model, listed in each:
        for name in listed:
            if name == DEFAULT_EXCHANGE:
                outside = f"{re.escape(name)}|"
            elif name in SHARED:
                shared.append(name.removeprefix(f"{names.PREFIX}."))
            else:
                below.setdefault(model, []).append(name.removeprefix(f"{names.PREFIX}.{model}."))
    groups = [f"{model}\\.{_either(rest)}" for model, rest in below.items()]
    ours = f"{names.PREFIX}\\.({'|'.join([*groups, *sorted(set(shared))])})"
    return f"^({outside}{ours})$" if outside else f"^{ours}$"


def _either(listed: Iterable[str]) -> str:
    escaped = [name.replace(".", "\\.").replace(ANY, ".*") for name in dict.fromkeys(listed)]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def definitions(parts: Iterable[Part], vhost: str, granted: Mapping[str, Patterns]) -> dict[str, object]:
    """Return what ``rabbitmqctl import_definitions`` takes: parts that are to be there, and what users may do.

    Exclusive queues are left out: they are locks, and go with their connection. The users themselves must be there.
    """
    listed = list(parts)
    return {
        "vhosts": [{"name": vhost}],
        "exchanges": [
            {
                "name": part.name, "vhost": vhost, "type": part.kind, "durable": True, "auto_delete": False, "internal": False,
                "arguments": {},
            }
            for part in listed if isinstance(part, Exchange)
        ],
        "queues": [
            {"name": part.name, "vhost": vhost, "durable": True, "auto_delete": False, "arguments": dict(part.arguments)}
            for part in listed if isinstance(part, Queue) and not part.exclusive
        ],
        "bindings": [
            {
                "source": part.exchange, "vhost": vhost, "destination": part.queue, "destination_type": "queue",
                "routing_key": part.routing_key, "arguments": {},
            }
            for part in listed if isinstance(part, Binding)
        ],
        "permissions": [
            {"user": user, "vhost": vhost, "configure": allowed.configure, "write": allowed.write, "read": allowed.read}
            for user, allowed in granted.items()
        ],
    }
