"""Instances that do not come back: somebody says so, and the fleet no longer counts them as silent.

Decides who may be retired: who reported once, and is not heard. Says so in the register and touches nothing else; one that does come
back is a member again. Imports the chronicle and sessions.
"""

import time
from typing import cast

from modelcast.publisher.catalog import Catalog, Retired
from modelcast.publisher.chronicle import HEARD_MINUTES, KEPT_MINUTES, read_fleet
from modelcast.publisher.sessions import BUSY_SECONDS, OnBusy, Sessions, unheard
from modelcast.shared.errors import MisuseError, NotFound
from modelcast.shared.names import check_name
from modelcast.shared.operating_road import OpenRoad
from modelcast.shared.road import PublisherRoad
from modelcast.shared.roads import as_road

SHOWN_INSTANCES = 8


def retire(
    url: str | OpenRoad, model: str, instance: str, *, channel: str = "production", busy_seconds: float = BUSY_SECONDS,
    on_busy: OnBusy = unheard,
) -> None:
    """Say that an instance that was killed, or whose machine is gone, is not coming back: the fleet forgets it at once.

    One that stops in order says goodbye itself. Its store, its queue and its dead letters stay as they are. If it starts again
    it is a member again.

    Args:
        url: The road: ``amqp://user:password@host:5672/vhost``, ``file:///srv/models``, or a road of your own.
        model: Name of the model.
        instance: Its id.
        channel: Name of its channel.
        busy_seconds: How long to wait for a publisher of the same model.
        on_busy: Is told in a sentence when one is waited for.

    Raises:
        MisuseError: It is heard, so that it runs.
        NotFound: Nobody of this id reported within the week that reports are kept.
        HostFault, PublisherBusy: The road is away, or another publisher did not end: call again.
    """
    road = cast("OpenRoad", as_road(url))   # what was given is one, and so is what an address opens
    check_name("channel", channel)
    fleet = read_fleet(road, model, channel, known_minutes=KEPT_MINUTES)   # checks the model's name
    member = fleet.members.get(instance)
    if member is None:
        names = sorted(fleet.members)
        listed = ", ".join(names[:SHOWN_INSTANCES]) + (", …" if len(names) > SHOWN_INSTANCES else "")
        raise NotFound(
            f"No instance {instance} of {model} is known in {channel}.",
            hint=f"Known are: {listed}." if names else "Nobody has reported there within a week.",
        )
    if member.is_heard:
        raise MisuseError(
            f"{instance} reported within the last {HEARD_MINUTES} minutes.",
            hint=f"Stop it in order, and it says goodbye itself. If it was killed just now, call again in {HEARD_MINUTES} minutes.",
        )
    retired = Retired(channel, instance, member.boot, time.time_ns() // 1_000_000)

    def note(session: PublisherRoad, _catalog: Catalog) -> None:
        """Write it down."""
        session.register.append(retired.to_bytes())

    Sessions(road, busy_seconds, on_busy).act(model, channel, note)
