"""Saying that an instance does not come back: the fleet no longer counts it as silent.

Decides who may be retired: who reported within a day, and is not heard. Says so in the register and touches nothing else. Imports the
chronicle and sessions.
"""

import time
from collections.abc import Callable
from typing import cast

from modelcast.publisher.catalog import Catalog
from modelcast.publisher.chronicle import HEARD_MINUTES, read_catalog, read_fleet
from modelcast.publisher.retirement import Retired
from modelcast.publisher.sessions import Sessions
from modelcast.shared.errors import MisuseError, NotFound
from modelcast.shared.names import check_name
from modelcast.shared.operating_road import OpenRoad
from modelcast.shared.publishing_road import PublisherRoad
from modelcast.shared.roads import as_road

SHOWN_INSTANCES = 8


def retire(
    url: str | OpenRoad, model: str, instance: str, *, channel: str = "production", busy_seconds: float = 60.0,
    on_busy: Callable[[str], None] | None = None,
) -> None:
    """Say that an instance that was killed, or whose machine is gone, does not come back: the fleet forgets it at once.

    One that stops in order says goodbye itself. Its store, its queue and its dead letters stay as they are. If it reports again it is
    a member again. A second call for the same instance changes nothing.

    Args:
        url: The road: ``amqp://user:password@host:5672/vhost``, ``file:///srv/models``, or a road of your own.
        model: Name of the model.
        instance: Its id.
        channel: Name of its channel.
        busy_seconds: How long to wait for whoever else orders the same model, or publishes it and is not sending just then.
        on_busy: Is told in a sentence when one is waited for.

    Raises:
        MisuseError: It is heard, so that it runs.
        NotFound: Nobody of this id reported within a day, or nothing of the model was published.
        HostFault, PublisherBusy: The road is away, or another publisher did not end: call again.
    """
    road = as_road(url)
    if not hasattr(road, "records"):
        raise MisuseError("The registers of this road cannot be read.", hint="A road of your own needs records(model).")
    road = cast("OpenRoad", road)
    fleet = read_fleet(road, model, check_name("channel", channel))
    member = fleet.members.get(instance)
    if member is None and instance in read_catalog(road, model).retired(channel):
        return
    if member is None:
        names = sorted(fleet.members)
        listed = ", ".join(names[:SHOWN_INSTANCES]) + (", …" if len(names) > SHOWN_INSTANCES else "")
        raise NotFound(
            f"No instance {instance} of {model} is known in {channel}.",
            hint=f"Known are: {listed}." if names else "Nobody is: those that stopped, or were retired, are none any more.",
        )
    if member.is_heard:
        raise MisuseError(
            f"{instance} reported within the last {HEARD_MINUTES} minutes.",
            hint=f"Stop it in order, and it says goodbye itself. If it was killed just now, call again in {HEARD_MINUTES} minutes.",
        )
    retired = Retired(channel, instance, member.boot, member.reported_ms, time.time_ns() // 1_000_000)

    def note(session: PublisherRoad, _catalog: Catalog) -> None:
        """Write it down."""
        session.register.append(retired.to_bytes())

    Sessions(road, busy_seconds, on_busy).act(model, channel, note)
