"""Looking at dead letters without taking them, and finding the reports that explain them.

Decides how far reports are read. Memory is bounded by the number of letters asked for. Imports letter and the road's
protocols.
"""

from typing import Protocol

from modelcast.consumer.deadletters.letter import Letter, letter_id, open_letter
from modelcast.shared.errors import BrokerUnreachable, NotFound, SenderFault
from modelcast.shared.order import order_id
from modelcast.shared.report import Report, Verdict
from modelcast.shared.road import DeadLetter, DeadLetterRoad, ReportSource

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
        wanted: Beginning of the ids that are returned; the others are looked at one by one and not held.

    Raises:
        HostFault: The road broke.
    """
    dead = [letter for letter in road.dead_letters(limit) if letter_id(letter).startswith(wanted)]
    reports = _reports_for(road, dead) if dead else {}
    return [open_letter(letter, reports) for letter in dead]


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


def _reports_for(road: BrowsableRoad, dead: list[DeadLetter]) -> dict[tuple[str, str], Report]:
    wanted = {(order_id(letter.body), letter.target.instance if letter.target else "") for letter in dead}
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
