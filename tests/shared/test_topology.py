"""Names on the broker: no two of them collide, and a queue's name says whose it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.shared import topology
from modelcast.shared.errors import InvalidName
from modelcast.shared.limits import GIB, MIB
from modelcast.shared.names import RESERVED_CHANNELS
from modelcast.shared.topology import Binding, Exchange, Part, Queue

words = st.sampled_from(["a", "b", "chunks", "releases", "publishing", "ordering", "history", "at", "dead", "reports", "a-b", "a_b", "0"])
channels = words.filter(lambda word: word not in RESERVED_CHANNELS)


def all_parts(model: str, channel: str, instance: str, **options: str) -> list[Part]:
    return [
        *topology.publisher_locks(model), *topology.model_parts(model), *topology.channel_parts(model, channel),
        *topology.instance_parts(model, channel, instance, **options),
    ]


@given(st.lists(st.tuples(words, channels, words), min_size=2, max_size=6))
def test_no_two_things_share_a_name(targets: list[tuple[str, str, str]]) -> None:
    owners: dict[tuple[type, str], object] = {}
    for model, channel, instance in targets:
        for group, owner in (
            ([*topology.publisher_locks(model), *topology.model_parts(model)], ("model", model)),
            (topology.channel_parts(model, channel)[:2], ("channel", model, channel)),
            (topology.instance_parts(model, channel, instance), ("instance", model, channel, instance)),
            (topology.common_parts(), "all"),
        ):
            for part in group:
                if not isinstance(part, Binding):
                    assert owners.setdefault((type(part), part.name), owner) == owner


@given(words, channels, words)
def test_the_name_of_a_queue_says_whose_it_is(model: str, channel: str, instance: str) -> None:
    assert topology.target_of_queue(topology.instance_queue_name(model, channel, instance)) == (model, channel, instance)


@pytest.mark.parametrize("name", ["", "x", "modelcast.dead", "modelcast.m.c.history", "other.m.c.at.i", "modelcast.m.c.at.i.x", "modelcast.m.c.to.i"])
def test_the_name_of_another_queue_says_nothing(name: str) -> None:
    assert topology.target_of_queue(name) is None


@given(words, channels, words, st.sampled_from(["classic", "quorum"]))
def test_everything_that_is_bound_is_declared_before(model: str, channel: str, instance: str, queue_type: str) -> None:
    seen: set[tuple[type, str]] = set()
    for part in all_parts(model, channel, instance, queue_type=queue_type):
        if isinstance(part, Binding):
            assert {(Exchange, part.exchange), (Queue, part.queue)} <= seen
        else:
            seen.add((type(part), part.name))


def test_the_dead_letters_of_an_instance_find_the_queue_of_the_dead() -> None:
    queue = topology.instance_parts("m", "c", "i")[0]
    assert isinstance(queue, Queue)
    exchange, key = queue.arguments["x-dead-letter-exchange"], queue.arguments["x-dead-letter-routing-key"]
    assert Binding(topology.DEAD, str(exchange), str(key)) in topology.common_parts()
    assert Exchange(str(exchange), "direct") in topology.common_parts()


def test_a_quorum_queue_loses_no_dead_letter() -> None:
    queue = topology.instance_parts("m", "c", "i", queue_type="quorum")[0]
    assert isinstance(queue, Queue)
    assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"
    assert queue.arguments["x-overflow"] == "reject-publish"   # without it the broker falls back to at-most-once


def test_only_the_locks_are_exclusive() -> None:
    exclusive = {part.name for part in all_parts("m", "c", "i") if isinstance(part, Queue) and part.exclusive}
    assert exclusive == {"modelcast.m.publishing", "modelcast.m.ordering"}


@pytest.mark.parametrize("retention_bytes", [64 * MIB, 1 * GIB, 20 * GIB, 1000 * GIB])
def test_a_stream_has_several_segments_so_that_retention_can_work(retention_bytes: int) -> None:
    chunks = next(part for part in topology.model_parts("m", retention_bytes=retention_bytes) if isinstance(part, Queue))
    segment = chunks.arguments["x-stream-max-segment-size-bytes"]
    assert isinstance(segment, int)
    assert chunks.arguments["x-max-length-bytes"] == retention_bytes
    assert 16 * MIB <= segment <= retention_bytes // 4


def test_names_outside_the_rule_never_reach_the_broker() -> None:
    for name in ("", "A", "a.b", "a#", "*", "é"):
        for make in (topology.chunks_name, topology.releases_name, topology.publishing_lock, topology.ordering_lock):
            with pytest.raises(InvalidName):
                make(name)
        with pytest.raises(InvalidName):
            topology.orders_name("m", name)
        with pytest.raises(InvalidName):
            topology.instance_queue_name("m", "c", name)


@pytest.mark.parametrize("channel", sorted(RESERVED_CHANNELS))
def test_a_channel_cannot_take_the_name_of_an_exchange_of_its_model(channel: str) -> None:
    with pytest.raises(InvalidName):
        topology.orders_name("m", channel)
