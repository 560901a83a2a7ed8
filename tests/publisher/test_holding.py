"""What is gone from a road is noticed and sent again: chunks that retention dropped, and streams that were deleted."""

from pathlib import Path

import numpy as np
import pytest
from tests.fakes.fake_broker import FakeBroker

from modelcast.publisher import Publication, Publisher
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import BrokerUnreachable
from modelcast.shared.limits import KIB, MIB
from modelcast.shared.signing import SigningKey
from modelcast.shared.topology import chunks_name

CHUNK = 64 * KIB


class Site:
    """A publisher and its broker."""

    def __init__(self, key: SigningKey, path: Path) -> None:
        self.broker, self._path = FakeBroker(), path
        self.road = AmqpRoad(self.broker, retention_bytes=32 * MIB)
        self._publisher = Publisher(self.road, signing_key=key, chunk_bytes=CHUNK)

    def publish(self, version: str, seed: int, *, chunks: int = 4, channel: str = "production") -> Publication:
        self._path.write_bytes(np.random.default_rng(seed).bytes(chunks * CHUNK))
        return self._publisher.publish(self._path, model="fraud", version=version, channel=channel, format="files", lineage={})

    def held(self) -> int:
        """Return how many chunks a reader finds."""
        source, found = self.road.chunks("fraud", None), 0
        while (arrived := source.receive(0)) is not None:
            found += arrived.is_chunk and len(arrived.body) > 0
        source.close()
        return found


@pytest.fixture
def site(signing_key: SigningKey, tmp_path: Path) -> Site:
    return Site(signing_key, tmp_path / "model.bin")


def test_the_same_release_published_again_is_sent_again_where_the_stream_was_deleted_and_then_no_more(site: Site) -> None:
    site.publish("1.0.0", 0)
    assert site.publish("1.0.0", 0).was_current
    site.broker.delete_queue(chunks_name("fraud"))
    again = site.publish("1.0.0", 0)
    assert (again.was_current, again.sent_bytes, site.held()) == (False, 4 * CHUNK, 4)
    assert site.publish("1.0.0", 0).was_current


def test_what_lay_in_a_deleted_stream_is_never_counted_on_again(site: Site) -> None:
    site.publish("1.0.0", 0)
    site.broker.delete_queue(chunks_name("fraud"))
    site.publish("1.1.0", 1, chunks=8)   # the new stream is longer than where the old release began
    assert site.publish("1.2.0", 0).sent_bytes == 4 * CHUNK
    assert site.publish("1.3.0", 1, chunks=8).sent_bytes == 0   # what the new one holds is


def test_a_release_that_was_looked_for_in_vain_is_not_counted_on_by_another(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.publish("1.0.0", 0)
    site.broker.delete_queue(chunks_name("fraud"))

    def broken(*_: object, **__: object) -> None:
        raise BrokerUnreachable("gone")

    with monkeypatch.context() as patch:
        patch.setattr("modelcast.shared.amqp_publishing.AmqpChunkSink.send", broken)
        with pytest.raises(BrokerUnreachable):
            site.publish("1.0.0", 0)
    assert site.publish("1.1.0", 0).sent_bytes == 4 * CHUNK


def test_what_retention_dropped_is_sent_again(site: Site) -> None:
    site.publish("1.0.0", 0, chunks=32)
    for number in range(1, 20):
        site.publish(f"0.{number}.0", number, chunks=200, channel="other")
    again = site.publish("1.0.0", 0, chunks=32)
    assert (again.was_current, again.sent_bytes) == (False, 32 * CHUNK)
    assert site.publish("1.0.0", 0, chunks=32).was_current
