"""Endpoints of a publisher's session: its beginning and end, the register, the orders and announcements of one model.

Decides which scope each record and each order needs. What orders say is not looked at: a road carries bytes, and instances trust
signatures, not roads. Imports the call and sessions; ``uploading`` has the chunks.
"""

from typing import Any

from starlette.responses import Response

from modelcast.publisher.server.call import Call, done, text_of, wire
from modelcast.publisher.server.problems import Problem
from modelcast.publisher.server.sessions import Session
from modelcast.publisher.server.tokens import Scope
from modelcast.publisher.server.work import work
from modelcast.shared.depot.layout import ChannelPlaces
from modelcast.shared.depot.numbered import NumberedLog
from modelcast.shared.errors import SenderFault
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.names import check_name
from modelcast.shared.packing import unpack

SESSION_HEADER = "Modelcast-Session"
CHANNEL_RECORDS = frozenset({"ordering", "ordered", "withdrawn", "rollout", "rollout-step", "retired"})
"""Records that tell of one channel: who may promote there may write them."""


def session_of(call: Call) -> Session:
    """Return the session that a request names; raises Problem when there is none."""
    return call.service.sessions.get(call.model, call.request.headers.get(SESSION_HEADER))


def _may_change(call: Call) -> None:
    if not call.token.allows(Scope.PUBLISH, call.model):
        call.must(Scope.PROMOTE, call.model)


async def begin(call: Call) -> Response:
    """Open a session: nobody else orders meanwhile, and nobody else sends chunks unless ``sends`` is false."""
    asked = await call.fields()
    channel, sends = check_name("channel", text_of(asked, "channel")), asked.get("sends", True)
    if not isinstance(sends, bool):
        raise Problem(400, "sends is neither true nor false.")
    if not call.token.allows(Scope.PUBLISH, call.model, channel):
        call.must(Scope.PROMOTE, call.model, channel)
    session = await call.service.sessions.open(call.model, channel, sends=sends)
    fields = {
        "session": session.id, "lease_seconds": call.service.limits.lease_seconds, "retention_bytes": None, "lets_order": True,
    }
    return call.answer(fields, 201)


async def apart(call: Call) -> Response:
    """Let others order while this session sends chunks; until it rejoins it does nothing else."""
    async with session_of(call).sending() as road:
        road.apart()
    return done()


async def rejoin(call: Call) -> Response:
    """End the time apart, unless somebody is ordering right now."""
    return call.answer({"rejoined": await call.service.sessions.rejoin(session_of(call))})


async def end(call: Call) -> Response:
    """End a session."""
    _may_change(call)
    await call.service.sessions.end(call.model, call.request.path_params["session"])
    return done()


# --------------------------------------------------------------------------- register


async def register(call: Call) -> Response:
    """The records of the model's register, oldest first; of a session if one is named, and without one for whoever may fetch."""
    offset, log = call.count("from", 0, most=2**62), call.service.depot.register(call.model)
    if SESSION_HEADER not in call.request.headers:
        return wire(await work(_records, log, offset, call.service.limits.answer_bytes))
    _may_change(call)
    async with session_of(call).turn():
        return wire(await work(_records, log, offset, call.service.limits.answer_bytes))


def _records(log: NumberedLog, first: int, max_bytes: int) -> dict[str, Any]:
    records: list[bytes] = []
    for number in log.numbers():
        if number < first:
            continue
        if max_bytes <= 0:
            return {"next": number, "records": records}
        record = log.read(number)
        if record is not None:
            records.append(record)
            max_bytes -= len(record)
    return {"next": None, "records": records}


async def add_record(call: Call) -> Response:
    """Append a record to the register."""
    session, body = session_of(call), await call.body(call.service.limits.record_bytes)
    channel = _ordered_channel(body, call.service.limits.record_bytes)
    if channel is not None:
        call.must(Scope.PROMOTE, call.model, channel)
    else:
        call.must(Scope.PUBLISH, call.model)
    async with session.ordering() as road:
        await work(road.register.append, body)
    return done()


def _ordered_channel(body: bytes, max_bytes: int) -> str | None:
    """Return the channel that a record says something was ordered for, or None for any other record."""
    try:
        record = unpack(body, what="record", max_bytes=max_bytes)
    except SenderFault:
        return None
    return str(record.get("channel")) if record.get("record") in CHANNEL_RECORDS else None


# --------------------------------------------------------------------------- orders


async def order(call: Call) -> Response:
    """Send an order to every instance of a channel."""
    return await _send_message(call, is_announcement=False)


async def announcement(call: Call) -> Response:
    """Announce an order whose bytes are still being sent."""
    return await _send_message(call, is_announcement=True)


async def _send_message(call: Call, *, is_announcement: bool) -> Response:
    session, channel, model = session_of(call), call.channel, call.model
    body = await call.body(DEFAULT_LIMITS.order_bytes)
    async with session.ordering() as road:
        await work(road.announce if is_announcement else road.order, channel, body)
    call.service.notices.tell(call.service.depot.root / ChannelPlaces(model, channel).orders)
    return done()
