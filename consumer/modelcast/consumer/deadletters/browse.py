"""Looking at dead letters without taking them, and finding the reports that explain them.

Decides how far reports are read. Each letter is reduced to what is shown of it before the next one is taken, because letters
may be large: of all that are listed no body is held, and besides them only what the broker sends while one is read. Imports
letter, choosing and the road's protocols.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, Protocol

from modelcast.consumer.deadletters.choosing import ANY, Wish
from modelcast.consumer.deadletters.letter import Letter, letter_id, open_letter
from modelcast.shared.errors import BrokerUnreachable, NotFound, SenderFault
from modelcast.shared.report import Report, Verdict
from modelcast.shared.road import DeadLetter, DeadLetterRoad, ReportSource

POLL_SECONDS = 0.2
"""Between two looks whether the past is read; only a source without a report in it waits so long."""
STALLED_SECONDS = 30.0
"""Longest silence before the end of what was there; the broker answers in milliseconds or takes no messages."""
MOST_LOOKED_AT = 65_535
"""Letters that can be looked at without taking them: AMQP counts unsettled messages in 16 bits."""
MOST_REPORTS = 100
_WITHOUT_FACTS: dict[str, Any] = {"facts": {}, "host": {}, "transfer": {}, "stages_ms": {}}


class BrowsableRoad(DeadLetterRoad, Protocol):
    """A road whose dead letters and reports can be read."""

    def reports(self, *, since_minutes: int | None) -> ReportSource:
        """See ``road.Road.reports``."""
        ...


def read_letters(
    road: BrowsableRoad, *, limit: int, wanted: str = "", wish: Wish = ANY, with_facts: bool = True
) -> list[Letter]:
    """Return dead letters, oldest first, each with its report if that is still kept.

    Args:
        road: Where they are.
        limit: How many are returned at most.
        wanted: Beginning of the ids that are returned, with order and manifest; the others are looked at and not held. Without
            it all are returned, in brief.
        wish: What is asked of them besides.
        with_facts: Whether the reports keep what is large: their facts. Without, ten thousand letters are some tens of megabytes.

    Raises:
        HostFault: The road broke.
    """
    waits = wish.reason is not None   # whether one fits is known only when the reports are read
    letters = _fitting(road, MOST_LOOKED_AT if waits else limit, wanted, wish)
    joined = _joined(road, letters, with_facts=with_facts and not waits)
    if not waits:
        return joined
    chosen = [letter for letter in joined if wish.fits_reason(letter)][:limit]
    return _joined(road, chosen, with_facts=True) if with_facts else chosen


def _fitting(road: BrowsableRoad, limit: int, wanted: str, wish: Wish) -> list[Letter]:
    letters: list[Letter] = []
    if limit <= 0:
        return letters
    with closing(road.dead_letters(limit if wish.is_any and not wanted else MOST_LOOKED_AT)) as every:
        for dead in every:
            if not letter_id(dead).startswith(wanted):
                continue
            letter = open_letter(dead)
            if wish.fits_message(letter):
                letters.append(letter if wanted else letter.in_brief())
                if len(letters) >= limit:
                    break
    return letters


def _joined(road: BrowsableRoad, letters: list[Letter], *, with_facts: bool) -> list[Letter]:
    reports = _reports_for(road, letters, with_facts=with_facts) if letters else {}
    return [replace(letter, report=reports.get(_key(letter))) for letter in letters]


def page_after(
    road: BrowsableRoad, after: str | None, *, limit: int, wish: Wish = ANY, with_facts: bool = True
) -> tuple[list[Letter], str | None]:
    """Return the letters of one page, and the id behind which the next one begins, or None when it is the last.

    Args:
        road: Where they are.
        after: Id of the letter behind which the page begins, or None for the first page.
        limit: Letters of a page.
        wish: What is asked of them.
        with_facts: See ``read_letters``.

    Raises:
        NotFound: The letter of ``after`` is gone: begin anew.
        HostFault: The road broke.
    """
    if after is None:
        letters = read_letters(road, limit=limit + 1, wish=wish, with_facts=with_facts)
    else:
        every = read_letters(road, limit=MOST_LOOKED_AT, wish=wish, with_facts=False)
        place = next((at for at, letter in reversed(list(enumerate(every))) if letter.id.startswith(after)), None)
        if place is None:
            raise NotFound(f"{after!r} is not there (any more), or does not fit.", hint="Begin with the first page: without --after.")
        letters = every[place + 1 : place + 2 + limit]
        letters = _joined(road, letters, with_facts=True) if with_facts else letters
    return letters[:limit], letters[limit - 1].id if len(letters) > limit else None


def find_dead(road: DeadLetterRoad, wanted: str) -> DeadLetter:
    """Return the dead letter whose id begins with ``wanted``, with its body.

    Raises:
        NotFound: There is none, or more than one.
        HostFault: The road broke.
    """
    found: dict[str, DeadLetter] = {}
    with closing(road.dead_letters(MOST_LOOKED_AT)) as every:
        for dead in every:
            identity = letter_id(dead)
            if identity.startswith(wanted):
                found = {**found, identity: dead} if len(found) < 2 else found   # two are one too many already
    if len(found) != 1:
        raise _not_found(wanted, is_unique=not found)
    return next(iter(found.values()))


def reports_about(road: BrowsableRoad, letter: Letter) -> list[Report]:
    """Return what a letter's instance reported of its order, oldest first; the newest hundred.

    Raises:
        HostFault: The road broke.
    """
    about = deque[Report](maxlen=MOST_REPORTS)
    for report in past_reports(road):
        if (report.order, report.instance) == _key(letter) and report not in about:   # one may be sent twice
            about.append(report)
    return list(about)


def find_letter(letters: list[Letter], wanted: str) -> Letter:
    """Return the letter whose id begins with ``wanted``.

    Raises:
        NotFound: There is none, or more than one.
    """
    found = [letter for letter in letters if letter.id.startswith(wanted)]
    if len({letter.id for letter in found}) == 1:
        return found[-1]   # the same order, refused by the same instance more than once: the newest
    raise _not_found(wanted, is_unique=not found)


def _not_found(wanted: str, *, is_unique: bool) -> NotFound:
    what = "is no dead letter that is there" if is_unique else "is not unique"
    return NotFound(f"{wanted!r} {what}.", hint="See the ids with: modelcast dead-letters list")


def _key(letter: Letter) -> tuple[str, str]:
    return letter.order_id, letter.instance or ""


def _reports_for(road: BrowsableRoad, letters: list[Letter], *, with_facts: bool) -> dict[tuple[str, str], Report]:
    """Return the newest rejection of each letter's order by its instance: an order that was replayed may be refused again."""
    wanted = set(map(_key, letters))
    found: dict[tuple[str, str], Report] = {}
    for report in past_reports(road):
        key = (report.order or "", report.instance)
        if report.verdict == Verdict.REJECTED and key in wanted:
            found[key] = report if with_facts else report.model_copy(update=_WITHOUT_FACTS)
    return found


def past_reports(road: BrowsableRoad) -> Iterator[Report]:
    """Yield every report that is kept, oldest first, up to this call; what is no report is passed over.

    Raises:
        BrokerUnreachable: Nothing came for a while, before the end of what was there.
        HostFault: The road broke.
    """
    source = road.reports(since_minutes=None)
    silent_seconds = 0.0
    try:
        while not source.is_caught_up:   # running instances report all the time: there is no silence
            body = source.receive(POLL_SECONDS)
            silent_seconds = silent_seconds + POLL_SECONDS if body is None else 0.0
            if silent_seconds >= STALLED_SECONDS:
                raise BrokerUnreachable(
                    f"The broker did not give back within {STALLED_SECONDS:.0f} s what was written to the reports.",
                    hint="Is it short of memory or disk? rabbitmq-diagnostics alarms",
                )
            try:
                report = Report.parse(body or b"")
            except SenderFault:
                continue   # somebody else's message in the stream
            yield report
    finally:
        source.close()
