"""Looking at dead letters without taking them, and finding the reports that explain them.

Decides how far reports are read. Each letter is reduced to what is shown of it before the next one is taken, because letters
may be large: of all that are listed no body is held, and besides them only what the broker sends while one is read. Imports
letter and the road's protocols.
"""

from dataclasses import replace
from typing import Protocol

from modelcast.consumer.deadletters.letter import Letter, letter_id, open_letter
from modelcast.shared.errors import BrokerUnreachable, NotFound, SenderFault
from modelcast.shared.report import Report, Verdict
from modelcast.shared.road import DeadLetterRoad, ReportSource

POLL_SECONDS = 0.2
"""Between two looks whether the past is read; only a source without a report in it waits so long."""
STALLED_SECONDS = 30.0
"""Longest silence before the end of what was there; the broker answers in milliseconds or takes no messages."""


class BrowsableRoad(DeadLetterRoad, Protocol):
    """A road whose dead letters and reports can be read."""

    def reports(self, *, since_minutes: int | None) -> ReportSource:
        """See ``road.Road.reports``."""
        ...


def read_letters(road: BrowsableRoad, *, limit: int, wanted: str = "") -> list[Letter]:
    """Return dead letters, oldest first, each with its report if that is still kept.

    Args:
        road: Where they are.
        limit: How many are looked at.
        wanted: Beginning of the ids that are returned, with order and manifest; the others are looked at and not held. Without
            it all are returned, in brief.

    Raises:
        HostFault: The road broke.
    """
    letters: list[Letter] = []
    for dead in road.dead_letters(limit):
        if letter_id(dead).startswith(wanted):
            letter = open_letter(dead)
            letters.append(letter if wanted else letter.in_brief())
    reports = _reports_for(road, letters) if letters else {}
    return [replace(letter, report=reports.get(_key(letter))) for letter in letters]


def find_letter(letters: list[Letter], wanted: str) -> Letter:
    """Return the letter whose id begins with ``wanted``.

    Raises:
        NotFound: There is none, or more than one.
    """
    found = [letter for letter in letters if letter.id.startswith(wanted)]
    if len({letter.id for letter in found}) == 1:
        return found[0]
    what = "is not unique" if found else "is no dead letter that is there"
    raise NotFound(f"{wanted!r} {what}.", hint="See the ids with: modelcast dead-letters list")


def _key(letter: Letter) -> tuple[str, str]:
    return letter.order_id, letter.instance or ""


def _reports_for(road: BrowsableRoad, letters: list[Letter]) -> dict[tuple[str, str], Report]:
    wanted = set(map(_key, letters))
    found: dict[tuple[str, str], Report] = {}
    source = road.reports(since_minutes=None)
    silent_seconds = 0.0
    try:
        while len(found) < len(wanted) and not source.is_caught_up:   # running instances report all the time: there is no silence
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
            key = (report.order or "", report.instance)
            if report.verdict == Verdict.REJECTED and key in wanted:
                found[key] = report
    finally:
        source.close()
    return found
