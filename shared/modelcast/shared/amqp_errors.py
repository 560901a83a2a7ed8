"""What a broker's refusal means: AMQP reply codes and the client library's exceptions as our errors, at one place.

Decides the family: all are the host's fault (retry), except a lock that another publisher holds. Imports no client
library: it reads reply codes and class names, so that only ``pika_link`` depends on pika.
"""

from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.errors import (
    AuthenticationRefused,
    BrokerUnreachable,
    HostFault,
    ModelcastError,
    PermissionRefused,
    PublisherBusy,
    TopologyMismatch,
    VhostMissing,
)
from modelcast.shared.limits import shortened

FREE_HINT = "Free memory or disk on the broker's host: rabbitmq-diagnostics alarms"
"""What to do about a broker in alarm."""
DOWN = "down or inaccessible"
"""What RabbitMQ says of a queue that is there and cannot be had."""
DOWN_HINT = (
    "It starts, or a node of its cluster is down; call again when it is back. Where streams stay down (rabbitmqctl list_queues name "
    "state), RabbitMQ has lost its record of them: a single node that is killed within three minutes of its first stream never gets "
    "them back, not even by deleting them or their virtual host. Use another virtual host, and publish again."
)
"""What to do about queues that are there and cannot be had."""
SILENT_HINT = "Is a node of the broker's cluster down, or is the broker overloaded? See: rabbitmqctl cluster_status"
"""What to do about a broker that is connected and does not answer: a stream without its majority confirms nothing."""


def connect_error(url: BrokerUrl, cause: BaseException) -> HostFault:
    """Return the error for a connection that did not come about."""
    name, text = type(cause).__name__, _sentence(cause)
    if "StreamLostError" in text:   # of which pika makes a probable refusal; RabbitMQ says what it refuses before it hangs up
        name, text = "", "the connection was lost before it was open"
    elif "before connection finished opening" in text:
        text = "it took the connection and did not answer in time"
    if name == "ProbableAuthenticationError" or "ACCESS_REFUSED" in text:
        return AuthenticationRefused(
            f"The broker at {url.host}:{url.port} refuses user {url.user!r} with this password.",
            hint=f"Check the URL; set a new password with: rabbitmqctl change_password {url.user}",
            facts={"url": str(url)},
        )
    words = _sentence(cause, 600)
    if "connection limit" in words:   # with the same code as a virtual host that is not there
        return BrokerUnreachable(
            f"The broker at {url.host}:{url.port} takes no more connections: {_limit(words)}.",
            hint=f"Raise the limit or close connections that nobody needs: rabbitmqctl list_vhost_limits -p {url.vhost}; "
            f"rabbitmqctl list_user_limits --user {url.user}",
            facts={"url": str(url)},
        )
    if name == "ProbableAccessDeniedError" or "NOT_ALLOWED" in text:
        return VhostMissing(
            f"There is no virtual host {url.vhost!r} at {url.host}:{url.port}, or user {url.user!r} may not enter it.",
            hint=f"Run: rabbitmqctl add_vhost {url.vhost} && "
            f"rabbitmqctl set_permissions -p {url.vhost} {url.user} '.*' '.*' '.*'",
            facts={"url": str(url)},
        )
    return BrokerUnreachable(
        f"No RabbitMQ answers at {url.host}:{url.port} ({text}).",
        hint="Is it running and is the address right? For a private one: modelcast broker start",
        facts={"url": str(url)},
    )


def lost_error(url: BrokerUrl, cause: BaseException, *, blocked: str | None = None) -> HostFault:
    """Return the error for a connection that broke; ``blocked`` says why the broker took no messages then, if it did not."""
    if blocked is not None:
        return BrokerUnreachable(
            f"The broker at {url.host}:{url.port} takes no messages now: {blocked}. The connection ended: {_sentence(cause)}.",
            hint=FREE_HINT, facts={"url": str(url), "blocked": blocked},
        )
    text = _sentence(cause)
    hint = None
    if "INTERNAL_ERROR" in text:   # what a cluster says, too, whose majority is gone
        hint = "The broker failed: its log says where. In a cluster see whether the majority is there: rabbitmqctl cluster_status"
    return BrokerUnreachable(f"The connection to {url.host}:{url.port} broke: {text}.", hint=hint, facts={"url": str(url)})


def channel_error(cause: BaseException, what: str) -> ModelcastError:
    """Return the error for a channel that the broker closed while it was asked to do ``what``."""
    code = getattr(cause, "reply_code", 0)
    text = shortened(getattr(cause, "reply_text", "") or _sentence(cause), 300)
    facts = {"reply_code": code, "reply_text": text}
    if code == 403 and "exclusive use" in text:
        return PermissionRefused(
            "Another instance with the same id is connected, so this one gets no orders.",
            hint="Give each instance an id of its own; after a crash the broker lets go of the old connection within 90 s.",
            facts=facts,
        )
    if code == 403:
        return PermissionRefused(
            f"The broker does not allow this: {text}.", hint="Grant the user the permission that the text names.", facts=facts
        )
    if code == 405:
        return PublisherBusy(
            "Somebody else is publishing or ordering this model right now.", hint="Wait until it is done and run again.", facts=facts
        )
    if code == 404 and DOWN in text:   # nothing is missing: deleting what is named would lose it
        return BrokerUnreachable(
            f"The broker has not got everything back yet: {text}.",
            hint=DOWN_HINT, facts=facts,
        )
    if code in {404, 406}:
        return TopologyMismatch(
            f"The broker's queues are not as they should be: {text}.",
            hint="Something else made or deleted them; delete the one that is named and run again.",
            facts=facts,
        )
    return BrokerUnreachable(f"The broker closed the channel ({what}): {text}.", facts=facts)


def _limit(text: str) -> str:
    """Return which limit the broker named last, without what it and the client library wrote around it."""
    return shortened(text.rpartition("': ")[2].rstrip("\"'.,)"), 200)


def _sentence(cause: BaseException, most: int = 200) -> str:
    """Return the innermost cause in a few words; the library's own texts nest three of them."""
    inner: BaseException = cause
    while True:
        nested = [getattr(inner, "exception", None), *getattr(inner, "exceptions", ())[-1:], *inner.args[:1]]
        found = next((error for error in nested if isinstance(error, BaseException)), None)
        if found is None:
            break
        inner = found
    strerror = getattr(inner, "strerror", None)
    return shortened(strerror or str(inner) or type(inner).__name__, most).rstrip(".")
