"""Whether the instances of one channel accepted a release, before another channel is ordered to run it.

Decides what counts: those that promoted it, or say that they serve it, of those that are known; and what counts as accepted by nobody.
Imports waiting and the road's protocols.
"""

import time
from collections.abc import Iterable

from modelcast.publisher.chronicle import reports_of
from modelcast.publisher.listening import minutes_to_read
from modelcast.publisher.publication import Publication
from modelcast.publisher.retirement import Retired
from modelcast.publisher.waiting import Outcome, Tally
from modelcast.shared.errors import HostFault, NotAccepted
from modelcast.shared.report import Verdict
from modelcast.shared.road import Road

NAMED = 5
"""So many instances are named of each kind."""


def check_accepted(road: Road, publication: Publication, share: float, retired: Iterable[Retired]) -> Outcome:
    """Read what was reported since an order, and refuse if too few instances accepted it.

    Args:
        road: Where the reports are.
        publication: The order for the channel before.
        share: How many of the known instances must have promoted it, above 0 and up to 1.
        retired: Instances that do not come back: they are not counted.

    Raises:
        NotAccepted: Too few did; the facts say who did not, and why.
        HostFault: The reports cannot be read.
    """
    now_ms = time.time_ns() // 1_000_000
    tally = Tally(publication, None, share)
    for body in reports_of(road, minutes_to_read(publication.issued_ms, now_ms)):
        tally.add(body)
    for each in retired:
        tally.forget(each)
    tally.is_past_read = True
    outcome = tally.outcome(timed_out=False)
    if outcome.ok:
        return outcome
    asked = len(tally.known)
    rejected = {name: f"{report.reason}: {report.message}" for name, report in outcome.rejected.items()}
    raise NotAccepted(
        f"{len(outcome.promoted)} of {asked} instances of {publication.channel} promoted {publication.version}; "
        f"{outcome.needed} are asked for."
        f"{_named('Rejected by', rejected)}{_named('Silent', outcome.silent)}",
        hint=f"See: modelcast why {publication.model} {publication.version} --channel {publication.channel}",
        facts={"promoted": sorted(outcome.promoted), "rejected": rejected, "silent": list(outcome.silent), "needed": outcome.needed},
    )


def was_refused(road: Road, publication: Publication) -> bool:
    """Whether instances refused an order, and none is known to have taken it; what is not known is not held against it.

    Ends at the first instance that took it, which a channel that ran it has soon after the order; so mostly little is read.

    Args:
        road: Where the reports are.
        publication: The order.
    """
    tally, now_ms = Tally(publication, None, 1.0, is_past_read=True), time.time_ns() // 1_000_000
    try:
        for body in reports_of(road, minutes_to_read(publication.issued_ms, now_ms)):
            verdict = tally.add(body)
            if tally.serving or (verdict is not None and verdict.verdict is Verdict.PROMOTED):
                return False   # also who says only that it serves it: its verdict may be too old to be read
    except HostFault:
        return False   # whoever goes back is in a hurry: nothing keeps him from it
    return bool(tally.with_verdict(Verdict.REJECTED))


def _named(what: str, names: dict[str, str] | tuple[str, ...]) -> str:
    if not names:
        return ""
    listed = ", ".join(list(names)[:NAMED])
    return f" {what}: {listed}{', …' if len(names) > NAMED else ''}."
