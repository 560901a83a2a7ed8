"""Reading the chunk stream: from near first, from far before giving up, and on where a lost connection stopped."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from tests.fakes.bench import never
from tests.fakes.fault_fs import FaultFs
from tests.fakes.publisher_sim import PublisherSimulator, Release

from modelcast.consumer.assembly import Assembly
from modelcast.consumer.receiving import RECONNECTS, Fetch, fetch, read_plan
from modelcast.consumer.store import Store
from modelcast.consumer.trial import Dropped
from modelcast.consumer.trust import open_order
from modelcast.shared.chunk_message import PART
from modelcast.shared.digest import digest
from modelcast.shared.errors import BrokerUnreachable, HostFault, SenderFault, StorageFault
from modelcast.shared.fs import Fs
from modelcast.shared.reasons import Reason
from modelcast.shared.road import ArrivedChunk
from modelcast.shared.signing import KeyRing, SigningKey

FILES = {"model.bin": b"".join(n.to_bytes(4, "big") for n in range(1250))}   # five chunks, all different


class Stream:
    """A chunk stream in memory; what is opened where is written down.

    Args:
        messages: By offset, ascending with gaps.
        cuts: After how many messages each connection breaks; the last one holds.
    """

    def __init__(self, messages: list[ArrivedChunk], cuts: tuple[int, ...] = ()) -> None:
        self.messages, self.cuts = messages, list(cuts)
        self.opened: list[int | None] = []
        self.open_now = 0

    def __call__(self, offset: int | None, _wanted: object = None) -> "Source":
        self.opened.append(offset)
        self.open_now += 1
        return Source(self, [m for m in self.messages if (m.offset or 0) >= (offset or 0)], self.cuts.pop(0) if self.cuts else None)


class Source:
    """See ``road.ChunkSource``."""

    name = "memory"

    def __init__(self, stream: Stream, messages: list[ArrivedChunk], left: int | None) -> None:
        self._stream, self._messages, self._left = stream, iter(messages), left

    def receive(self, seconds: float) -> ArrivedChunk | None:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise BrokerUnreachable("cut")
        return next(self._messages, None)

    def close(self) -> None:
        self._stream.open_now -= 1


@pytest.fixture
def release(signing_key: SigningKey) -> Release:
    return PublisherSimulator(None, signing_key).release("1.0.0", FILES)


@pytest.fixture
def assembly(tmp_path: Path, release: Release) -> Iterator[Assembly]:
    store = Store(tmp_path / "store", Fs())
    store.open()
    assembly = Assembly(store, release.id, release.manifest.artifact)
    assembly.find_again(never)
    yield assembly
    assembly.close()
    store.close()


@pytest.fixture
def fetching(signing_key: SigningKey, key_ring: KeyRing, release: Release) -> Callable[..., Fetch]:
    def make(stopped: Callable[[], None] = never, **offsets: int | None) -> Fetch:
        body = PublisherSimulator(None, signing_key).order(release, **offsets)   # type: ignore[arg-type]
        return Fetch(open_order(body, key_ring, model="fraud", channel="production").order, release.id, 0.0, stopped)

    return make


def messages(release: Release, *, first: int = 10, end: bool = True) -> list[ArrivedChunk]:
    """A release's chunks at every third offset, and its end marker."""
    chunks = [ArrivedChunk(body, True, digest(body).hex(), None, first + 3 * n) for n, body in enumerate(release.chunks())]
    return [*chunks, ArrivedChunk(b"", False, None, release.id, first + 3 * len(chunks))] if end else chunks


@pytest.mark.parametrize(
    ("chunks_offset", "oldest_offset", "has_some", "plan"),
    [
        (20, 5, True, [20, 5, None]),    # the new chunks, then all it needs, then all there is
        (20, 5, False, [5, 5, None]),    # nothing here: from the oldest at once
        (None, 5, True, [5, 5, None]),   # it brought no new chunks
        (None, None, True, [None, None]),
        (None, None, False, [None, None]),
        (20, None, False, [None, None]),
        (20, None, True, [20, None]),
        (0, 0, True, [0, 0, None]),      # offset 0 is an offset
    ],
)
def test_the_stream_is_read_near_first_and_far_before_giving_up(chunks_offset, oldest_offset, has_some, plan) -> None:
    assert read_plan(chunks_offset, oldest_offset, has_some=has_some) == plan


def test_one_reading_is_enough_when_all_is_there(assembly, release, fetching) -> None:
    stream = Stream(messages(release))
    fetch(assembly, stream, fetching(chunks_offset=10, oldest_offset=10))
    assert assembly.progress.is_complete
    assert (stream.opened, stream.open_now) == ([10], 0)


def test_a_host_that_has_some_begins_at_the_new_chunks(assembly, release, fetching) -> None:
    for body in release.chunks()[:2]:
        assembly.take(body, None)
    assembly.progress.reused_chunks = 2
    stream = Stream(messages(release)[2:])
    fetch(assembly, stream, fetching(chunks_offset=16, oldest_offset=3))
    assert stream.opened == [16]


def test_what_is_missing_after_all_readings_is_the_senders_fault(assembly, release, fetching) -> None:
    stream = Stream(messages(release)[1:])
    with pytest.raises(SenderFault) as raised:
        fetch(assembly, stream, fetching(chunks_offset=10, oldest_offset=10))
    assert raised.value.reason is Reason.CHUNKS_MISSING
    missing = messages(release)[0].claim
    assert raised.value.facts == {"missing_chunks": 1, "damaged_chunks": 0, "reads": 3, "missing_digests": [missing]}
    assert stream.opened == [10, 10, None]


@pytest.fixture
def noting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The offset is noted after each chunk; else a test would need many megabytes."""
    monkeypatch.setattr("modelcast.consumer.assembly.RESUME_EVERY_BYTES", 1)


def interrupted(assembly: Assembly, release: Release, fetching: Callable[..., Fetch], after: int) -> Stream:
    """Receive some chunks, then lose the process: an assembly is opened anew by whoever goes on."""
    stream = Stream(messages(release), cuts=(after, *[0] * RECONNECTS))
    with pytest.raises(BrokerUnreachable):
        fetch(assembly, stream, fetching(chunks_offset=10, oldest_offset=10))
    return Stream(stream.messages)


@pytest.fixture
def again(tmp_path: Path, release: Release, assembly: Assembly) -> Callable[[], Assembly]:
    def open_again() -> Assembly:
        assembly.close()
        other = Assembly(assembly._store, release.id, release.manifest.artifact)
        other.find_again(never)
        return other

    return open_again


@pytest.mark.usefixtures("noting")
def test_a_transfer_that_was_interrupted_goes_on_where_the_stream_was_left(assembly, again, release, fetching) -> None:
    stream = interrupted(assembly, release, fetching, 3)
    second = again()
    fetch(second, stream, fetching(chunks_offset=10, oldest_offset=10))
    assert stream.opened == [17]   # the third chunk stood at 16
    assert second.progress.is_complete
    assert second.progress.wire_bytes == sum(len(body) for body in release.chunks()[3:])
    second.sync()
    assert second.resume_offset is None
    second.close()


@pytest.mark.usefixtures("noting")
@pytest.mark.parametrize("hint", [b"17", b"9999", b"9" * 20, b"9", b"", b"x", b"-1", b"9" * 21], ids=repr)
def test_a_hint_where_to_go_on_may_be_wrong(assembly, again, release, fetching, hint: bytes) -> None:
    stream = interrupted(assembly, release, fetching, 2)
    (assembly.folder.parent / "resume").write_bytes(hint)   # 17 passes over the third chunk
    second = again()
    fetch(second, stream, fetching(chunks_offset=10, oldest_offset=10))
    assert second.progress.is_complete
    second.close()


@pytest.mark.usefixtures("noting")
def test_a_hint_without_what_it_speaks_of_is_not_believed(assembly, again, release, fetching) -> None:
    stream = interrupted(assembly, release, fetching, 3)
    (assembly.folder / "model.bin").unlink()
    second = again()
    fetch(second, stream, fetching(chunks_offset=10, oldest_offset=10))
    assert stream.opened == [10]
    second.close()


def test_packed_chunks_are_unpacked_before_they_are_compared(assembly, release, fetching) -> None:
    packed = zstandard.ZstdCompressor().compress
    stream = Stream([ArrivedChunk(packed(m.body), True, m.claim, None, m.offset, True) if m.is_chunk else m for m in messages(release)])
    fetch(assembly, stream, fetching())
    assert assembly.progress.is_complete
    assert (assembly.folder / "model.bin").read_bytes() == FILES["model.bin"]
    assert assembly.progress.transfer()["source"] == "memory"
    assert assembly.progress.transfer()["wire_bytes"] == sum(len(m.body) for m in stream.messages)


@pytest.mark.parametrize("frame", [b"no frame", b"", zstandard.ZstdCompressor().compress(bytes(64 * 2**20))], ids=["rubbish", "empty", "bomb"])
def test_a_frame_that_cannot_be_unpacked_is_a_damaged_chunk(assembly, release, fetching, frame: bytes) -> None:
    first, *others = messages(release)
    with pytest.raises(SenderFault) as raised:
        fetch(assembly, Stream([ArrivedChunk(frame, True, first.claim, None, first.offset, True), *others]), fetching())
    assert raised.value.reason is Reason.CHUNK_DAMAGED


def test_a_chunk_that_comes_only_damaged_is_named_as_damaged(assembly, release, fetching) -> None:
    good = messages(release)
    stream = Stream([ArrivedChunk(b"broken", True, good[0].claim, None, 10), *good[1:]])
    with pytest.raises(SenderFault) as raised:
        fetch(assembly, stream, fetching(chunks_offset=10, oldest_offset=10))
    assert raised.value.reason is Reason.CHUNK_DAMAGED
    assert raised.value.facts == {
        "missing_chunks": 1, "damaged_chunks": 3, "reads": 3, "missing_digests": [good[0].claim],
        "expected_digest": good[0].claim, "arrived_digest": digest(b"broken").hex(),
    }


def test_a_good_copy_counts_wherever_it_stands(assembly, release, fetching) -> None:
    good = messages(release)
    bad = ArrivedChunk(b"broken", True, good[2].claim, None, 9)
    fetch(assembly, Stream([bad, *good]), fetching(oldest_offset=0))
    assert assembly.progress.is_complete
    assert assembly.progress.damaged_chunks == 1


def test_a_chunk_of_an_earlier_release_is_found_by_reading_from_further_back(assembly, release, fetching) -> None:
    assembly.progress.reused_chunks = 1
    first, *rest = messages(release, first=30)
    early = ArrivedChunk(first.body, True, first.claim, None, 2)
    stream = Stream([early, *rest])
    fetch(assembly, stream, fetching(chunks_offset=30, oldest_offset=2))
    assert stream.opened == [30, 2]


def test_silence_ends_a_reading_when_there_is_no_end_marker(assembly, release, fetching) -> None:
    stream = Stream(messages(release, end=False)[:-1])
    with pytest.raises(SenderFault):
        fetch(assembly, stream, fetching(oldest_offset=10))
    assert len(stream.opened) == 3


def test_a_chunk_that_comes_in_parts_is_no_silence_however_long_it_takes(assembly, release, fetching) -> None:
    slow = [message for arrived in messages(release) for message in (PART, PART, arrived)]
    stream = Stream(slow)
    fetch(assembly, lambda offset, wanted: stream(None), fetching(oldest_offset=10))
    assert len(stream.opened) == 1


def test_the_end_of_another_release_ends_nothing(assembly, release, fetching) -> None:
    other_end = ArrivedChunk(b"", False, None, "f" * 64, 5)
    stream = Stream([other_end, *messages(release)])
    fetch(assembly, stream, fetching(oldest_offset=0))
    assert stream.opened == [0]


def test_random_bytes_in_the_stream_are_counted_and_passed_over(assembly, release, fetching) -> None:
    noise = [ArrivedChunk(bytes([n]) * n, True, None, None, n) for n in range(8)]
    fetch(assembly, Stream([*noise, *messages(release)]), fetching(oldest_offset=0))
    assert assembly.progress.foreign_messages == 8


@pytest.mark.parametrize("after", range(1, 6))
def test_a_lost_connection_goes_on_after_the_last_message(assembly, release, fetching, after: int) -> None:
    stream = Stream(messages(release), cuts=(after,))
    fetch(assembly, stream, fetching(chunks_offset=10, oldest_offset=10))
    assert assembly.progress.is_complete
    assert assembly.progress.fetched_chunks == 5
    assert stream.opened == ([10, 10 + 3 * (after - 1) + 1] if after < 5 else [10])
    assert stream.open_now == 0


def test_a_connection_that_breaks_again_and_again_is_the_hosts_fault_and_keeps_what_came(assembly, release, fetching) -> None:
    stream = Stream(messages(release), cuts=(1,) * (RECONNECTS + 1))
    with pytest.raises(BrokerUnreachable):
        fetch(assembly, stream, fetching(oldest_offset=10))
    assert len(stream.opened) == RECONNECTS + 1
    assert assembly.progress.fetched_chunks == RECONNECTS + 1
    assert stream.open_now == 0


def test_a_disk_that_fails_is_no_lost_connection(tmp_path: Path, release, fetching) -> None:
    fs = FaultFs(tmp_path / "full")
    store = Store(tmp_path / "full", fs)
    store.open()
    assembly = Assembly(store, release.id, release.manifest.artifact)
    assembly.find_again(never)
    fs.fail_at(0, errno.ENOSPC, lasting=True)
    stream = Stream(messages(release))
    with pytest.raises(StorageFault):
        fetch(assembly, stream, fetching(oldest_offset=10))
    assert (stream.opened, stream.open_now) == ([10], 0)
    assembly.close()
    store.close()


def test_work_that_nobody_wants_stops_at_the_next_message(assembly, release, fetching) -> None:
    wanted = 3

    def stopped() -> None:
        nonlocal wanted
        wanted -= 1
        if wanted < 0:
            raise Dropped

    stream = Stream(messages(release))
    with pytest.raises(Dropped):
        fetch(assembly, stream, fetching(stopped, oldest_offset=10))
    assert assembly.progress.fetched_chunks == 3
    assert stream.open_now == 0


def test_a_stream_that_cannot_be_opened_is_the_hosts_fault(assembly, fetching) -> None:
    def refused(_offset: int | None, _wanted: object) -> Source:
        raise BrokerUnreachable("nobody answers")

    with pytest.raises(HostFault):
        fetch(assembly, refused, fetching())
