"""Putting an artifact together: order, repetition and strangers do not matter, digests do."""

from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.specimens import file_entry

from modelcast.consumer.reassembly import Reassembly
from modelcast.shared.digest import digest
from modelcast.shared.manifest import Artifact

BODIES = st.lists(st.binary(min_size=1, max_size=8), min_size=1, max_size=12)


def artifact_of(*contents: bytes, chunk_bytes: int = 4) -> Artifact:
    files = tuple(file_entry(f"file-{number:03}", content, chunk_bytes) for number, content in enumerate(contents))
    return Artifact(format="files", loader="files", files=files)


def bodies_of(artifact: Artifact, contents: tuple[bytes, ...]) -> list[bytes]:
    return [contents[chunk.file][chunk.offset : chunk.offset + chunk.size] for chunk in artifact.chunks()]


def take(progress: Reassembly, body: bytes, claim: str | None) -> int:
    """What the shell does with a message; returns how many places it filled."""
    places = progress.places(digest(body), len(body))
    if not places:
        progress.note_stranger(claim)
        return 0
    progress.placed(digest(body), len(body), fetched=True)
    return len(places)


@given(contents=st.lists(st.binary(max_size=20), min_size=1, max_size=4).filter(any), data=st.data())
def test_any_order_with_repetitions_strangers_and_damage_ends_when_the_last_digest_came(contents, data) -> None:
    artifact = artifact_of(*contents)
    wanted = bodies_of(artifact, tuple(contents))
    claims = [digest(body).hex() for body in wanted]
    strangers = data.draw(st.lists(st.binary(max_size=5).filter(lambda body: body not in wanted)))
    broken = data.draw(st.lists(st.sampled_from(claims)))
    messages = [
        *((body, claim) for body, claim in zip(wanted, claims, strict=True)),
        *((body, data.draw(st.sampled_from([None, "no hex", digest(body).hex()]))) for body in strangers),
        *((b"broken on the way", claim) for claim in broken),
        *((body, None) for body in data.draw(st.lists(st.sampled_from(wanted)))),
    ]
    progress = Reassembly(artifact)
    arrived: set[bytes] = set()
    filled = damaged = 0
    for body, claim in data.draw(st.permutations(messages)):
        damaged += body == b"broken on the way" and bytes.fromhex(claim or "") in {digest(b) for b in wanted} - arrived
        filled += take(progress, body, claim)
        arrived.add(digest(body))
        assert progress.is_complete == ({digest(b) for b in wanted} <= arrived)
        assert progress.missing_chunks == len({digest(b) for b in wanted} - arrived)
    assert progress.is_complete
    assert (filled, progress.fetched_chunks) == (len(wanted), len(wanted))
    assert progress.fetched_bytes == progress.total_bytes == sum(map(len, contents))
    assert progress.damaged_chunks == damaged
    assert list(progress.missing()) == []


def test_equal_chunks_are_filled_all_at_once_in_every_file() -> None:
    artifact = artifact_of(b"samesame", b"same", b"last")
    progress = Reassembly(artifact)
    assert [(place.file, place.offset) for place in progress.places(digest(b"same"), 4)] == [(0, 0), (0, 4), (1, 0)]
    assert take(progress, b"same", None) == 3
    assert progress.places(digest(b"same"), 4) == []
    assert progress.missing_chunks == 1
    assert [place.file for place in progress.missing()] == [2]


def test_asking_for_places_changes_nothing() -> None:
    progress = Reassembly(artifact_of(b"abcd"))
    before = progress.transfer()
    progress.places(digest(b"abcd"), 4)
    progress.places(digest(b"else"), 4)
    assert (progress.transfer(), progress.is_complete) == (before, False)


def test_what_is_reused_and_what_is_fetched_is_counted_apart() -> None:
    progress = Reassembly(artifact_of(b"abcdefgh"))
    progress.placed(digest(b"abcd"), 4, fetched=False)
    progress.placed(digest(b"efgh"), 4, fetched=True)
    assert progress.transfer() == {
        "total_bytes": 8, "fetched_bytes": 4, "reused_bytes": 4, "fetched_chunks": 1, "reused_chunks": 1, "damaged_chunks": 0,
        "foreign_messages": 0, "wire_bytes": 0, "ahead_bytes": 0,
    }


def test_a_message_without_a_claim_or_with_nonsense_is_a_stranger_not_damage() -> None:
    progress = Reassembly(artifact_of(b"abcd"))
    for claim in [None, "", "zz", "é", digest(b"other").hex(), digest(b"abcd").hex() + "00"]:
        progress.note_stranger(claim)
    assert (progress.foreign_messages, progress.damaged_chunks) == (6, 0)
    progress.note_stranger(digest(b"abcd").hex())
    assert progress.damaged_chunks == 1


def test_a_chunk_that_came_already_is_no_damage_whatever_comes_later_in_its_name() -> None:
    progress = Reassembly(artifact_of(b"abcdefgh"))
    take(progress, b"abcd", None)
    progress.note_stranger(digest(b"abcd").hex())
    assert (progress.damaged_chunks, progress.foreign_messages) == (0, 1)


def test_a_digest_with_two_sizes_stays_missing_where_the_size_is_wrong() -> None:
    """Only a manifest that contradicts itself has it; it must end as a missing chunk, not as a complete artifact."""
    good = file_entry("a", b"abcd", 4)
    lying = good.model_copy(update={"path": "b", "size": 5, "chunk_sizes": (5,)})
    progress = Reassembly(Artifact(format="files", loader="files", files=(good, lying)))
    assert take(progress, b"abcd", None) == 1
    assert not progress.is_complete
    assert [place.file for place in progress.missing()] == [1]
