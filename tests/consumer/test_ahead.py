"""Receiving ahead of an order: what was announced is written where it will belong, and nothing of it is believed."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from tests.consumer.test_receiving import FILES, Stream
from tests.fakes.publisher_sim import PublisherSimulator, Release

from modelcast.consumer.ahead import Ahead, layout_of, receive_ahead
from modelcast.consumer.assembly import Assembly
from modelcast.consumer.store import Store
from modelcast.consumer.trial import Dropped
from modelcast.consumer.trust import open_announcement
from modelcast.shared.digest import digest
from modelcast.shared.errors import BrokerUnreachable, StorageFault
from modelcast.shared.fs import Fs
from modelcast.shared.road import ArrivedChunk
from modelcast.shared.signing import KeyRing, SigningKey


@pytest.fixture
def release(signing_key: SigningKey) -> Release:
    return PublisherSimulator(None, signing_key).release("1.0.0", FILES)


@pytest.fixture
def ahead_of(signing_key: SigningKey, key_ring: KeyRing) -> Callable[..., Ahead]:
    def make(release: Release, **fields: object) -> Ahead:
        body = PublisherSimulator(None, signing_key).announcement(release, **fields)
        return Ahead(open_announcement(body, key_ring, model="fraud", channel="production"))

    return make


@pytest.fixture
def assembly(tmp_path: Path, ahead_of: Callable[..., Ahead], release: Release) -> Iterator[Assembly]:
    store = Store(tmp_path / "store", Fs())
    store.open()
    ahead = ahead_of(release)
    assembly = Assembly(store, ahead.layout, ahead.announced.manifest.artifact)
    yield assembly
    assembly.close()
    store.close()


def messages(release: Release, *, first: int = 10) -> list[ArrivedChunk]:
    """A release's chunks at every third offset, and its end marker."""
    chunks = [
        ArrivedChunk(body, True, digest(body).hex(), None, first + 3 * n, version=release.version, index=n)
        for n, body in enumerate(release.chunks())
    ]
    return [*chunks, ArrivedChunk(b"", False, None, release.id, first + 3 * len(chunks))]


def written(assembly: Assembly) -> bytes:
    return (assembly.folder / "model.bin").read_bytes()


def test_a_manifest_and_its_draft_have_one_layout_and_another_version_or_size_has_another(
    release: Release, ahead_of: Callable[..., Ahead], signing_key: SigningKey
) -> None:
    ahead, sim = ahead_of(release), PublisherSimulator(None, signing_key)
    assert ahead.layout == layout_of(release.manifest)
    assert ahead.fits(release.manifest)
    assert ahead.fits(sim.release("1.0.0", {"model.bin": FILES["model.bin"][::-1]}).manifest)   # other bytes: the digests will tell
    for other in (sim.release("1.0.1", FILES), sim.release("1.0.0", {"model.bin": b"x"}), sim.release("1.0.0", {"m": FILES["model.bin"]})):
        assert not ahead.fits(other.manifest)


def test_what_was_announced_is_written_in_its_place_with_its_digests(
    assembly: Assembly, release: Release, ahead_of: Callable[..., Ahead]
) -> None:
    ahead, stream = ahead_of(release, chunks_offset=10), Stream(messages(release))
    receive_ahead(assembly, stream, ahead, 0.0)
    assert written(assembly) == FILES["model.bin"]
    assert ahead.digests == {n: digest(body) for n, body in enumerate(release.chunks())}
    assert (stream.opened, stream.open_now) == ([10], 0)
    assert (ahead.fetched_bytes, ahead.wire_bytes, ahead.sources) == (5000, 5000, {"memory"})


def test_the_end_marker_ends_it_but_not_that_of_an_earlier_release(
    assembly: Assembly, release: Release, ahead_of: Callable[..., Ahead]
) -> None:
    (*chunks, end), other = messages(release), "0" * 64
    ahead = ahead_of(release, oldest_offset=1, chunks_offset=13)   # resumed: another release was sent in between
    sent = [replace(end, ends=other, offset=1), chunks[0], replace(end, ends=other, offset=12), chunks[1], replace(end, offset=14)]
    receive_ahead(assembly, Stream([*sent, *chunks[2:]]), ahead, 60.0)
    assert sorted(ahead.digests) == [0, 1]


def test_silence_ends_it_soon_when_the_order_is_there_and_else_after_a_while(
    assembly: Assembly, release: Release, ahead_of: Callable[..., Ahead]
) -> None:
    ordered, waiting = ahead_of(release), ahead_of(release)
    ordered.ordered_release = release.id
    receive_ahead(assembly, Stream(messages(release)[:2]), ordered, 3600.0)
    receive_ahead(assembly, Stream(messages(release)[:2]), waiting, 0.05)
    assert sorted(ordered.digests) == sorted(waiting.digests) == [0, 1]


def test_what_cannot_belong_to_it_is_passed_over(assembly: Assembly, release: Release, ahead_of: Callable[..., Ahead]) -> None:
    first, *others, end = messages(release)
    strangers = [
        replace(first, version="0.9.0"), replace(first, version=None), replace(first, index=None), replace(first, index=-1),
        replace(first, index=5), replace(first, body=b"short"), replace(first, is_chunk=False), replace(first, is_packed=True),
    ]
    ahead = ahead_of(release)
    receive_ahead(assembly, Stream([*strangers, *others, end]), ahead, 0.0)
    assert sorted(ahead.digests) == [1, 2, 3, 4]
    assert ahead.wire_bytes > ahead.fetched_bytes == 4000
    assert written(assembly) == bytes(1000) + FILES["model.bin"][1000:]


def test_a_packed_chunk_is_unpacked(assembly: Assembly, release: Release, ahead_of: Callable[..., Ahead]) -> None:
    first, *others = messages(release)
    ahead = ahead_of(release)
    receive_ahead(assembly, Stream([replace(first, body=zstandard.compress(bytes(first.body)), is_packed=True), *others]), ahead, 0.0)
    assert written(assembly) == FILES["model.bin"]


def test_who_wants_it_no_more_is_obeyed_and_the_source_closed(
    assembly: Assembly, release: Release, ahead_of: Callable[..., Ahead]
) -> None:
    ahead, stream = ahead_of(release), Stream(messages(release))
    ahead.dropped = True
    with pytest.raises(Dropped):
        receive_ahead(assembly, stream, ahead, 0.0)
    assert stream.open_now == 0


def test_a_lost_connection_goes_on_where_it_was(assembly: Assembly, release: Release, ahead_of: Callable[..., Ahead]) -> None:
    ahead, stream = ahead_of(release, chunks_offset=10), Stream(messages(release), cuts=(2, 0, 1))
    receive_ahead(assembly, stream, ahead, 0.0)
    assert (stream.opened, stream.open_now) == ([10, 14, 14, 17], 0)
    assert (sorted(ahead.digests), ahead.wire_bytes) == ([0, 1, 2, 3, 4], 5000)


def test_a_connection_that_is_lost_again_and_again_leaves_what_came_and_where_to_go_on(
    assembly: Assembly, release: Release, ahead_of: Callable[..., Ahead]
) -> None:
    ahead, stream = ahead_of(release), Stream(messages(release), cuts=(2, 0, 0, 0, 0))
    with pytest.raises(BrokerUnreachable):
        receive_ahead(assembly, stream, ahead, 0.0)
    assert (sorted(ahead.digests), ahead.next_offset, stream.open_now) == ([0, 1], 14, 0)


def test_an_interruption_is_no_end(assembly: Assembly, release: Release, ahead_of: Callable[..., Ahead]) -> None:
    ahead, stream = ahead_of(release, chunks_offset=10), Stream(messages(release))
    ahead.is_interrupted = True
    receive_ahead(assembly, stream, ahead, 60.0)
    assert (ahead.digests, stream.open_now) == ({}, 0)
    ahead.is_interrupted = False
    receive_ahead(assembly, stream, ahead, 60.0)
    assert sorted(ahead.digests) == [0, 1, 2, 3, 4]
    receive_ahead(assembly, stream, ahead, 60.0)
    assert stream.opened == [10, 10]   # whoever has everything opens nothing


def test_a_write_that_fails_half_way_leaves_no_digest_of_what_was_there_before(
    tmp_path: Path, release: Release, ahead_of: Callable[..., Ahead]
) -> None:
    class Torn(Fs):
        def write_at(self, descriptor: int, content: bytes | memoryview, offset: int, path: Path) -> None:
            if bytes(content[:4]) == b"EVIL":
                super().write_at(descriptor, content[:500], offset, path)
                raise StorageFault("the disk is full")
            super().write_at(descriptor, content, offset, path)

    store, ahead, (first, *_) = Store(tmp_path / "torn", Torn()), ahead_of(release), messages(release)
    store.open()
    assembly = Assembly(store, ahead.layout, ahead.announced.manifest.artifact)
    with pytest.raises(StorageFault):
        receive_ahead(assembly, Stream([first, replace(first, body=b"EVIL" * 250, offset=11)]), ahead, 0.0)
    assert ahead.digests == {}
    assembly.close()
    store.close()
