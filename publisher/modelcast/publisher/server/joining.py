"""Endpoints of an instance: it joins, gets its orders, settles them and leaves.

Decides which scope each needs. Imports the call and the members.
"""

from typing import Any

from starlette.responses import Response

from modelcast.publisher.server.call import Call, done, wire
from modelcast.publisher.server.members import Member, number_of
from modelcast.publisher.server.problems import Problem
from modelcast.publisher.server.protocol import LINE
from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.layout import NUMBER_DIGITS, ChannelPlaces
from modelcast.shared.road import ArrivedOrder, Bookmark, Target


def _target(call: Call) -> Target:
    return Target(call.model, call.channel, call.name("instance"))


def _joined(call: Call) -> str:
    joined = call.request.query_params.get("joined", "")
    if not 1 <= len(joined) <= 64 or not joined.isalnum():
        hint = "Make up a name for this connection, such as 16 hexadecimal digits, and say it each time."
        raise Problem(400, "joined is missing.", hint=hint)
    return joined


def _bookmark(call: Call) -> Bookmark | None:
    offset, _, order = call.request.query_params.get("bookmark", "").partition(":")
    return Bookmark(int(offset), order) if offset.isascii() and offset.isdecimal() and len(offset) <= NUMBER_DIGITS else None


async def orders(call: Call) -> Response:
    """What this connection was not given yet, at once or when there is something; the first call joins."""
    target, joined, service = _target(call), _joined(call), call.service
    seconds = call.number("wait", 0, most=service.limits.wait_seconds)
    member = await service.members.join(target, joined, _bookmark(call))

    async def look() -> dict[str, Any]:
        """Ask for what there is."""
        return {"orders": [_order(arrived) for arrived in await member.take(service.limits.answer_bytes)]}

    with member.asking():
        _loosen_when_lost(call, member)
        if not seconds:
            return wire(await look())
        folders = [service.depot.root / folder for folder in _folders(target)]
        with service.notices.at(folders, lambda: _numbers(service.depot, target)) as topic:
            return wire(await call.when_there(topic, seconds, look, "orders"))


def _loosen_when_lost(call: Call, member: Member) -> None:
    """Another connection may take the place of one that ended, without waiting until it is missed."""
    line = call.request.scope.get("extensions", {}).get(LINE)

    def loosen() -> None:
        """Let go, unless it was heard of elsewhere."""
        if member.line is line:
            member.is_loose = True

    member.line = line
    if line is not None:
        line.when_lost(member, loosen)


def _folders(target: Target) -> tuple[str, str]:
    places = ChannelPlaces(target.model, target.channel)
    return places.orders, places.announcements


def _numbers(depot: Depot, target: Target) -> tuple[int, int]:
    return depot.orders(target.model, target.channel).last(), depot.announcements(target.model, target.channel).last()


def _order(arrived: ArrivedOrder) -> dict[str, Any]:
    return {
        "number": number_of(arrived), "body": arrived.body, "is_history": arrived.receipt is None, "offset": arrived.offset,
        "is_announcement": arrived.is_announcement, "replay": arrived.replay,
    }


async def settle(call: Call) -> Response:
    """Say that an order is dealt with; one that was refused becomes a dead letter."""
    target, text = _target(call), call.request.path_params["number"]
    if not text.isdecimal() or len(text) > 12:
        raise Problem(404, "There is no order of that number.")
    accept = (await call.fields()).get("accept")
    if not isinstance(accept, bool):
        raise Problem(400, "accept is neither true nor false.")
    member = call.service.members.get(target, _joined(call))
    if member is None:
        raise Problem(409, f"{target.instance} has not joined, or has left.", hint="Join again: what is not settled comes again.")
    with member.asking():
        if not await member.settle(int(text), accept=accept):
            raise Problem(404, "This connection was given no such order, or has settled it.")
    return done()


async def leave(call: Call) -> Response:
    """Leave; the name is free at once."""
    await call.service.members.leave(_target(call), _joined(call))
    return done()
