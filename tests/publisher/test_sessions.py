"""Waiting for somebody else's session, and acting in one's own."""

import itertools
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.contract.conftest import road_of

from modelcast.publisher import sessions as module
from modelcast.publisher.catalog import Catalog
from modelcast.publisher.sessions import TOLD_AT, Sessions
from modelcast.shared.errors import HostFault, NotFound, PublisherBusy
from modelcast.shared.operating_road import OpenRoad
from modelcast.shared.publishing_road import PublisherRoad


@pytest.fixture(params=["fake", "rabbitmq", "file", "http"])
def road(request: pytest.FixtureRequest, tmp_path: Path) -> OpenRoad:
    return road_of(request.param, request, tmp_path)


@pytest.mark.parametrize("sends", [True, False])
def test_who_waits_is_told_once_and_gets_the_place_when_it_is_free(road: OpenRoad, monkeypatch: pytest.MonkeyPatch, sends: bool) -> None:
    theirs, rests, told = road.publish("fraud", "production"), list[float](), list[str]()

    def rest(seconds: float) -> None:
        rests.append(seconds)
        assert len(told) == (len(rests) == TOLD_AT)
        if len(rests) == TOLD_AT:
            theirs.close()

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=time.monotonic, sleep=rest))
    mine = Sessions(road, 60.0, told.append).open("fraud", "staging", sends=sends)   # of whichever channel
    assert rests == [module.BUSY_RETRY_SECONDS] * TOLD_AT
    (sentence,) = told
    assert sentence.startswith("Somebody is publishing or ordering fraud right now: waiting up to 60 s for the end of it.")
    assert ("sends only what is missing" in sentence) is sends
    mine.close()


def test_who_comes_back_from_its_time_apart_waits_for_who_orders(road: OpenRoad, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, told = road.publish("fraud", "production"), list[str]()
    mine.apart()
    theirs = road.publish("fraud", "production", sends=False)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=itertools.count().__next__, sleep=lambda _: None))
    with pytest.raises(HostFault, match="sent and not ordered: somebody else has been ordering for 180 s"):
        Sessions(road, 0.0).rejoin(mine)   # whoever waits for no other publisher waits for this all the same
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: told and theirs.close()))
    Sessions(road, 60.0, told.append).rejoin(mine)
    assert told == ["Somebody is ordering right now: waiting up to 180 s for the end of it."]
    mine.register.append(b"in time")
    mine.close()


def test_one_that_does_not_end_is_not_waited_for_for_ever(road: OpenRoad) -> None:
    told = list[str]()
    theirs = road.publish("fraud", "production")
    with pytest.raises(PublisherBusy):
        Sessions(road, 0.0, told.append).open("fraud", "production", sends=True)
    assert told == []   # nobody waited
    theirs.close()


def test_a_session_is_given_back_whatever_happens_in_it(road: OpenRoad) -> None:
    mine = Sessions(road, 0.0)

    def fail(session: PublisherRoad, catalog: Catalog) -> None:
        assert catalog.releases == []
        raise NotFound("nothing")

    with pytest.raises(NotFound):
        mine.act("fraud", "production", fail)
    assert list(mine.act("fraud", "production", lambda session, _catalog: session.register.read())) == []
