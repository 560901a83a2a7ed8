"""What the main road has dropped comes from the fallback; what is wrong with the fallback costs nothing but itself."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.bench import Bench
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.http_host import HttpHost
from tests.fakes.life import Life
from tests.fakes.publisher_sim import PublisherSimulator, damaged, withheld

from modelcast.consumer import ModelConsumer
from modelcast.consumer.fallback import as_fallback, mend
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import BrokerUnreachable, HostFault, MisuseError, SenderFault
from modelcast.shared.operating_road import OpenRoad
from modelcast.shared.reasons import Reason
from modelcast.shared.report import Report
from modelcast.shared.roads import open_road

NUMBERS = b"".join(n.to_bytes(4, "big") for n in range(1250))   # five chunks, all different


@pytest.fixture
def road() -> AmqpRoad:
    return AmqpRoad(FakeBroker())


@pytest.fixture
def depot(tmp_path: Path) -> Path:
    folder = tmp_path / "depot"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(params=["file", "http"])
def fallback(request: pytest.FixtureRequest, depot: Path) -> Iterator[OpenRoad]:
    """A directory, or a server over it."""
    if request.param == "file":
        yield open_road(f"file://{depot}")
    else:
        host = HttpHost(depot)
        yield open_road(host.url)
        host.stop()


@pytest.fixture
def bench(tmp_path: Path, road: AmqpRoad, key_ring) -> Iterator[Callable[..., Bench]]:
    opened: list[Bench] = []

    def bench(fallback: Any, **options: Any) -> Bench:
        way = None if fallback is None else partial(mend, fallback, "fraud")
        opened.append(Bench(tmp_path / f"store {len(opened)}", road, key_ring, mend=way, **options).open())
        return opened[-1]

    yield bench
    for each in opened:
        each.close()


def both(road, depot: Path, signing_key, alter=None):
    """Publish to the main road, altered, and to the directory, whole; returns the order of the main road."""
    sim, there = PublisherSimulator(road, signing_key), PublisherSimulator(open_road(f"file://{depot}"), signing_key)
    release = sim.release("1.0.0", {"model.bin": NUMBERS})
    there.send(release)
    offset = sim.send(release, alter) if alter else sim.send(release)
    return sim.order(release, chunks_offset=offset, oldest_offset=offset)


@pytest.mark.parametrize("alter", [withheld(1, 3), withheld(0, 1, 2, 3, 4), damaged(2)], ids=["some", "all", "damaged"])
def test_what_the_stream_has_not_or_has_damaged_comes_from_the_fallback_and_the_report_says_so(
    bench, road, depot, fallback, signing_key, alter
) -> None:
    body, at = both(road, depot, signing_key, alter), bench(fallback)
    trial = at.trial(body)
    for step in at.steps():
        step(trial)
    assert at.version == "1.0.0"
    assert trial.transfer["fetched_bytes"] == 5000
    name = "http" if "Http" in type(fallback).__name__ else "file"
    assert set(str(trial.transfer["source"]).split(", ")) == {"amqp", name}


def test_a_stream_that_cannot_be_opened_is_done_without(bench, road, depot, fallback, signing_key) -> None:
    def closed(_offset: int | None, _wanted: object) -> Any:
        raise BrokerUnreachable("cut")

    at = bench(fallback, open_source=closed)
    trial = at.trial(both(road, depot, signing_key))
    for step in at.steps():
        step(trial)
    assert at.version == "1.0.0"
    assert trial.transfer["source"] in {"file", "http"}


def test_nothing_is_asked_of_the_fallback_when_the_stream_has_all(bench, road, depot, fallback, signing_key) -> None:
    at = bench(fallback)
    trial = at.trial(both(road, depot, signing_key))
    at.workshop.receive(trial)
    assert trial.transfer["source"] == "amqp"


def test_packed_chunks_are_found_too(bench, road, depot, fallback, signing_key) -> None:
    release = PublisherSimulator(road, signing_key).release("1.0.0", {"model.bin": bytes(5000)})
    there, sim = PublisherSimulator(open_road(f"file://{depot}"), signing_key), PublisherSimulator(road, signing_key)
    there.send(release)
    offset = sim.send(release, withheld(0, 1, 2, 3, 4))
    at = bench(fallback)
    trial = at.trial(sim.order(release, chunks_offset=offset, oldest_offset=offset))
    at.workshop.receive(trial)
    assert trial.transfer["fetched_bytes"] == 5000


def transfers(road: OpenRoad) -> list[object]:
    """Return how the bytes of each promoted release came, as its report says."""
    source, found = road.reports(since_minutes=None), []
    while not source.is_caught_up:
        body = source.receive(0.1)
        report = Report.parse(body) if body else None
        if report is not None and report.verdict is not None:
            found.append(report.transfer["source"])
    source.close()
    return found


class Broken:
    """A fallback that fails when it is opened or asked."""

    name = "broken"

    def __init__(self, *, opens: bool) -> None:
        self._opens = opens

    def finder(self, _model: str) -> "Broken":
        if not self._opens:
            raise MisuseError("no finder today")
        return self

    def find(self, _digests: object) -> Iterator[Any]:
        raise HostFault("the token is refused")
        yield

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("opens", "told"), [(True, "the token is refused"), (False, "no finder today")])
def test_a_fallback_that_fails_costs_only_itself_and_is_told_with_the_reason(bench, road, depot, signing_key, opens: bool, told: str) -> None:
    at = bench(Broken(opens=opens))
    with pytest.raises(SenderFault) as caught:
        at.workshop.receive(at.trial(both(road, depot, signing_key, withheld(1))))
    assert caught.value.reason is Reason.CHUNKS_MISSING
    assert told in str(caught.value.facts["fallback"])


def test_a_fallback_that_does_not_have_them_either_is_told(bench, road, depot, fallback, signing_key) -> None:
    sim = PublisherSimulator(road, signing_key)
    release = sim.release("1.0.0", {"model.bin": NUMBERS})
    offset = sim.send(release, withheld(1))
    at = bench(fallback)
    with pytest.raises(SenderFault, match="1 chunk") as caught:
        at.workshop.receive(at.trial(sim.order(release, chunks_offset=offset, oldest_offset=offset)))
    assert caught.value.facts["fallback"] == "It does not have them either."


def test_a_damaged_chunk_of_the_fallback_is_not_taken(bench, road, depot, signing_key) -> None:
    body, at = both(road, depot, signing_key, withheld(1)), bench(open_road(f"file://{depot}"))
    chunks = sorted(depot.glob("models/fraud/chunks/*/*"))
    for path in chunks:
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(SenderFault) as caught:
        at.workshop.receive(at.trial(body))
    assert caught.value.reason is Reason.CHUNKS_MISSING


def test_a_road_that_finds_no_chunks_by_their_digests_is_refused() -> None:
    with pytest.raises(MisuseError, match="by their digests"):
        as_fallback(AmqpRoad(FakeBroker()))


def test_an_instance_of_rabbitmq_gets_from_a_server_what_the_stream_has_dropped_and_its_report_says_so(
    tmp_path: Path, broker_url: str, node, depot, signing_key
) -> None:
    road = open_road(f"{broker_url}?stream_port={node.status().stream_port}&chunks=stream")
    host, life = HttpHost(depot), Life(road, tmp_path, signing_key)
    PublisherSimulator(open_road(f"file://{depot}"), signing_key).send(release := life.sim.release("1.0.0", {"model.bin": NUMBERS}))
    consumer = life.joined(fallback=host.url)
    life.sim.publish(release, withheld(2))
    life.serves(consumer, "1.0.0")
    life.eventually(life.verdicts)
    assert transfers(road) == ["http, stream"]
    life.stop()
    host.stop()


def test_a_consumer_is_told_at_once_that_its_fallback_is_none(tmp_path: Path, signing_key) -> None:
    for wrong in ("amqp://localhost", "ftp://x", 3):
        with pytest.raises(MisuseError):
            ModelConsumer(
                AmqpRoad(FakeBroker()), model="fraud", trust=[signing_key.trusted()], store=tmp_path / "store", fallback=wrong,  # type: ignore[arg-type]
            )
