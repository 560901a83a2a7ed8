"""Instances that reported and are gone, and time that has gone by since."""

import pytest
from tests.fakes import specimens
from tests.fakes.life import LOOK_SECONDS

from modelcast.publisher import chronicle
from modelcast.shared.operating_road import OpenRoad
from modelcast.shared.report import ReportKind
from modelcast.shared.road import Target

AT_MS = 1_735_689_600_000


def report_as(road: OpenRoad, instance: str, boot: str, *, channel: str = "production", time_ms: int = AT_MS) -> None:
    """Report as an instance does that is then killed: nobody says goodbye."""
    joined = road.join(Target("fraud", channel, instance))
    body = specimens.report(
        kind=ReportKind.STATE, instance=instance, model="fraud", channel=channel, verdict=None, order=None, boot=boot, time_ms=time_ms,
    ).to_bytes()
    confirmed = joined.report(body)
    while not confirmed():
        joined.next_order(LOOK_SECONDS)
    joined.close()


def unheard(patch: pytest.MonkeyPatch) -> None:
    """Have time go by: nobody has reported lately."""
    whole = chronicle.reports_of

    def none_lately(road: OpenRoad, minutes: int) -> list[bytes]:
        return [] if minutes == chronicle.HEARD_MINUTES else list(whole(road, minutes))

    patch.setattr(chronicle, "reports_of", none_lately)
