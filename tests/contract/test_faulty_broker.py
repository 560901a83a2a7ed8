"""The faults that other tests rely on do happen, and only where they should."""

from collections.abc import Callable

import pytest
from tests.fakes.faulty_broker import Alter, CutAfter, FaultyBroker, cut_short, doubled, dropped, flipped

from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import BrokerUnreachable
from modelcast.shared.link import Broker
from modelcast.shared.topology import Queue

SENT = [b"a0", b"b1", b"c2"]


def carried(broker: Broker, fault: Alter) -> list[bytes]:
    """Send three chunks through a faulty broker and return what a reader sees."""
    road = AmqpRoad(FaultyBroker(broker, fault))
    publisher = road.publish("fraud", "production")
    for index, body in enumerate(SENT):
        publisher.chunks.send(body, version="1.0.0", index=index, count=3, digest="00")
    publisher.chunks.finish("r")
    publisher.close()
    source, seen = road.chunks("fraud", None), []
    while (arrived := source.receive(20.0)) is not None and arrived.ends is None:
        seen.append(bytes(arrived.body))
    source.close()
    return seen


@pytest.mark.parametrize("sending", [True, False], ids=["sending", "reading"])
@pytest.mark.parametrize(
    ("alter", "seen"),
    [
        (dropped, [b"a0", b"c2"]), (doubled, [b"a0", b"b1", b"b1", b"c2"]), (flipped, [b"a0", b"b0", b"c2"]),
        (cut_short, [b"a0", b"b", b"c2"]),
    ],
)
def test_the_chosen_chunk_is_altered_and_the_rest_goes_on(
    broker: Broker, alter: Callable[[bytes], list[bytes]], seen: list[bytes], sending: bool
) -> None:
    assert carried(broker, Alter(alter, lambda number: number == 1, sending=sending)) == seen


def test_a_cut_happens_once_and_kills_its_link(broker: Broker) -> None:
    fault = CutAfter(1, "depth")
    faulty = FaultyBroker(broker, fault)
    link = faulty.connect(name="first")
    link.declare([Queue("q")])
    assert link.depth("q") == 0
    assert not fault.happened
    for _ in range(2):
        with pytest.raises(BrokerUnreachable):
            link.depth("q")
        assert fault.happened
    again = faulty.connect(name="second")
    assert again.depth("q") == 0
    again.close()
