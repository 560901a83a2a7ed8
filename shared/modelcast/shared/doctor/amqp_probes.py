"""Questions to a broker that it answers by what it refuses: nothing is made, changed or left behind.

Decides how a permission is found out without using it: each question is one that RabbitMQ refuses for another reason *after* it has
looked at the permission (an argument that cannot be, an exchange that is not there). Measured on 3.10.8 and 4.0.5. Each costs a
channel, and a line in the broker's log. Imports the channel and the errors.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from modelcast.shared.amqp_channel import AmqpChannel
from modelcast.shared.amqp_errors import DOWN
from modelcast.shared.errors import ModelcastError, PermissionRefused, TopologyMismatch
from modelcast.shared.link import Outbox
from modelcast.shared.topology import PREFIX

_RETENTION = re.compile(r"'x-max-length-bytes'.* '([0-9]+)'")
_SIZE = re.compile(r"message size [0-9]+ .*max size ([0-9]+)")


class Asking(Protocol):
    """What a connection must be able to do to be asked."""

    def open_channel(self) -> AmqpChannel:
        """Open a channel of its own for one purpose."""
        ...

    def outbox(self, *, window: int) -> Outbox:
        """See ``link.Link.outbox``."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """What the broker said to a question.

    Attributes:
        code: AMQP reply code; 200 when it refused nothing.
        text: Its words.
    """

    code: int = 200
    text: str = ""

    def refuses(self, name: str) -> bool:
        """Whether it says that this user may not use ``name``."""
        return self.code == 403 and f"'{name}'" in self.text

    @property
    def is_down(self) -> bool:
        """Whether it says that the queue is there and cannot be had now."""
        return self.code == 404 and DOWN in self.text


def _nowhere() -> str:
    return f"{PREFIX}.doctor.{secrets.token_hex(8)}"


def ask(link: Asking, send: Callable[[Any, Callable[[Any], None]], object], what: str) -> Reply:
    """Ask by a channel of its own; raises HostFault when the connection breaks."""
    channel = link.open_channel()
    try:
        channel.call(lambda answered: send(channel.raw, answered), what)
    except ModelcastError as refusal:
        if "reply_code" not in refusal.facts:
            raise
        return Reply(int(str(refusal.facts["reply_code"])), str(refusal.facts["reply_text"]))
    finally:
        channel.close()
    return Reply()


def ask_configure(link: Asking, name: str) -> Reply:
    """Ask whether ``name`` may be declared: with an argument that no queue can have."""
    return ask(
        link, lambda raw, answered: raw.queue_declare(name, durable=True, arguments={"x-expires": "never"}, callback=answered),
        f"configure {name}",
    )


def ask_write(link: Asking, name: str) -> Reply:
    """Ask whether ``name`` may be written: by unbinding it from an exchange that is not there."""
    return ask(link, lambda raw, answered: raw.queue_unbind(name, _nowhere(), "doctor", callback=answered), f"write {name}")


def ask_read(link: Asking, name: str) -> Reply:
    """Ask whether ``name`` may be read: as a consumer of a priority that cannot be."""
    return ask(
        link,
        lambda raw, answered: raw.basic_consume(name, lambda *_: None, arguments={"x-priority": "high"}, callback=answered),
        f"read {name}",
    )


QUESTIONS = {"configure": ask_configure, "write": ask_write, "read": ask_read}


def look_at(link: Asking, name: str) -> Reply:
    """Look for a queue or stream of this name: 200 when it is there and can be had."""
    return ask(link, lambda raw, answered: raw.queue_declare(name, passive=True, callback=answered), f"look at {name}")


def has_queue(link: Asking, name: str) -> bool:
    """Whether there is a queue or stream of this name, and it can be had."""
    return look_at(link, name).code == 200


def retention_in(reply: Reply) -> int | None:
    """Return how many bytes a stream keeps, which the answer to ``ask_configure`` says of one that is there; None when it does not."""
    found = _RETENTION.search(reply.text) if reply.code == 406 else None
    return None if found is None else int(found[1])


def size_limit(link: Asking, size: int) -> int | None:
    """Return the largest message that the broker takes if ``size`` bytes are too many for it, otherwise None.

    The message goes to an exchange that is not there: the size is looked at first.
    """
    outbox = link.outbox(window=1)
    try:
        outbox.post(_nowhere(), bytes(size))
        outbox.flush()
    except (TopologyMismatch, PermissionRefused) as refusal:
        found = _SIZE.search(str(refusal.facts.get("reply_text", "")))
        return None if found is None else int(found[1])
    return None


def server_properties(link: Asking) -> dict[str, Any]:
    """Return what the broker said of itself when it was connected; empty where the client library does not tell."""
    channel = link.open_channel()
    try:
        told = getattr(channel.raw.connection, "server_properties", None)
    finally:
        channel.close()
    return dict(told) if isinstance(told, dict) else {}
