"""Endpoints for reports and dead letters, and the end of a model.

Decides what a token sees of them: what concerns its models and channels. Imports the call and the report desk.
"""

from contextlib import suppress
from typing import Any

from starlette.responses import Response

from modelcast.publisher.server.call import Call, done, wire
from modelcast.publisher.server.problems import Problem
from modelcast.publisher.server.reportdesk import Reading, extent
from modelcast.publisher.server.shelves import parsed
from modelcast.publisher.server.tokens import Scope, Token
from modelcast.publisher.server.work import work
from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.layout import ChannelPlaces, ModelPlaces, is_letter
from modelcast.shared.errors import PublisherBusy, SenderFault
from modelcast.shared.file_letters import FileLetterDesk
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.names import check_name
from modelcast.shared.report import Report
from modelcast.shared.road import DeadLetter, Target

KINDS = ("model", "channel", "instance")
MOST_MINUTES = 60 * 24 * 366
MOST_LETTERS = 1000


async def report(call: Call) -> Response:
    """Keep a report of an instance."""
    asked = call.request.query_params
    names = {kind: check_name(kind, asked[kind]) for kind in KINDS if kind in asked}
    body = await call.body(DEFAULT_LIMITS.report_bytes)
    said = _said(body, is_needed=len(names) < len(KINDS))
    if said is not None:   # what it says of itself counts for those who read it, so the token must reach that as well
        call.must(Scope.REPORT, said.model, said.channel)
        names = {kind: names.get(kind) or check_name(kind, getattr(said, kind)) for kind in KINDS}
    target = Target(**names)
    call.must(Scope.REPORT, target.model, target.channel)
    await work(call.service.desk.append, target, body)
    call.service.notices.tell(call.service.reports, looks=False)
    return done()


def _said(body: bytes, *, is_needed: bool) -> Report | None:
    try:
        return Report.parse(body)
    except SenderFault:
        if is_needed:
            raise
        return None   # of another version, perhaps: whoever reads it decides


async def reports(call: Call) -> Response:
    """Reports, those of the last minutes first, then as they come."""
    service, cursor = call.service, call.request.query_params.get("from")
    seconds = call.number("wait", 0, most=service.limits.wait_seconds)
    if cursor is None:
        minutes = None
        if "since_minutes" in call.request.query_params:
            minutes = call.number("since_minutes", 0, most=MOST_MINUTES)
        name, reading = await work(service.readings.begin, call.token, minutes)
        number = 0
    else:
        name, _, text = cursor.partition(".")
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else -1
        reading = service.readings.find(name, call.token)
    service.readings.keep(name, reading)

    async def look() -> dict[str, Any]:
        """Read on."""
        return await work(_read, reading, name, number, service.limits.answer_bytes)

    if not seconds:
        return wire(await look())
    with service.notices.at([service.reports], lambda: extent(service.depot.disk, service.reports)) as topic:
        return wire(await call.when_there(topic, seconds, look, "reports"))


def _read(reading: Reading, name: str, number: int, max_bytes: int) -> dict[str, Any]:
    bodies = reading.look(number, max_bytes)
    if bodies is None:
        raise Problem(410, "That part of this reading is over.", hint="Begin anew, without 'from'.")
    following = number + 1 if bodies else number
    return {"next": f"{name}.{following}", "caught_up": reading.is_caught_up, "reports": bodies}


# --------------------------------------------------------------------------- dead letters


async def dead_letters(call: Call) -> Response:
    """Orders that instances refused, oldest first."""
    limit = call.count("limit", 100, least=1, most=MOST_LETTERS)
    after = call.request.query_params.get("from", "")
    if after and not is_letter(after):
        raise Problem(400, f"from={after[:40]} is no place in this list.", hint="Write what 'next' of the page before says.")
    fields = await work(_letters, call.service.depot, call.token, after, limit, call.service.limits.answer_bytes)
    if call.wants_wire:
        return wire(fields)
    return call.answer({**fields, "letters": [_for_people(letter) for letter in fields["letters"]]})


def _letters(depot: Depot, token: Token, after: str, limit: int, max_bytes: int) -> dict[str, Any]:
    """Return a page; it ends with a name and not with a number, because letters are taken away meanwhile."""
    found: list[dict[str, Any]] = []
    for letter in depot.letters().read(2**62, after=after):
        if letter.target is None or not token.allows(Scope.OPERATE, letter.target.model, letter.target.channel):
            continue
        if len(found) >= limit or max_bytes <= 0:
            return {"next": found[-1]["id"], "letters": found}
        found.append(_letter(letter, letter.target))
        max_bytes -= len(letter.body)
    return {"next": None, "letters": found}


def _letter(letter: DeadLetter, target: Target) -> dict[str, Any]:
    return {
        "id": str(letter.receipt), "body": letter.body, "model": target.model, "channel": target.channel, "instance": target.instance,
        "died_ms": letter.died_ms, "cause": letter.cause, "deaths": list(letter.deaths),
    }


def _for_people(letter: dict[str, Any]) -> dict[str, Any]:
    order = parsed(letter["body"])
    about = {"release": order.release.hex(), "sequence": order.sequence} if order else {"release": None, "sequence": None}
    return {**{name: value for name, value in letter.items() if name not in {"body", "deaths"}}, **about}


async def _named(call: Call) -> tuple[str, DeadLetter, Target]:
    """Return the letter of the path; to a token that does not reach it, it is not there."""
    name = call.request.path_params["letter"]
    letter = await work(call.service.depot.letters().get, name)
    if letter is None or letter.target is None or not call.token.allows(Scope.OPERATE, letter.target.model, letter.target.channel):
        raise Problem(404, "There is no such dead letter (any more).", hint="Ask for the list again.")
    return name, letter, letter.target


async def replay(call: Call) -> Response:
    """Send an order back to the instance that refused it, to be judged anew; the dead letter stays until it is removed."""
    _, letter, target = await _named(call)
    await work(FileLetterDesk(call.service.depot).send_back, letter)
    call.service.notices.tell(call.service.depot.root / ChannelPlaces(target.model, target.channel).orders)
    return done()


async def remove_letter(call: Call) -> Response:
    """Remove a dead letter; one that is gone already is as good."""
    name = call.request.path_params["letter"]
    with suppress(Problem):   # what is gone, or is none of its business, says nothing else to a token
        await _named(call)
        await work(call.service.depot.letters().remove, name)
    return done()


# --------------------------------------------------------------------------- the end


async def retire(call: Call) -> Response:
    """Remove all that a model has, its dead letters too. Reports stay."""
    model = call.model
    await call.service.sessions.free(model)
    await call.service.members.dismiss(model)
    await work(_retire, call.service.depot, model)
    return done()


def _retire(depot: Depot, model: str) -> None:
    folder = depot.root / ModelPlaces(model).folder
    if not folder.is_dir():
        return
    locks = depot.locks(model)
    if not locks.take():
        raise PublisherBusy(f"Somebody is publishing {model} right now.", hint="Wait until it is done, or stop it.")
    try:
        depot.letters().remove_of(model)
        depot.disk.remove_tree(folder)
    finally:
        locks.release()
