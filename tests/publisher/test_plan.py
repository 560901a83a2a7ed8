"""What is sent is exactly what the stream does not hold for sure."""

from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import specimens

from modelcast.publisher.catalog import KnownRelease, Released
from modelcast.publisher.plan import Plan, held_by_earlier
from modelcast.shared.digest import digest


def test_a_chunk_that_is_counted_on_and_gone_is_sent_and_belongs_to_this_release() -> None:
    one, two = digest(b"one"), digest(b"two")
    plan = Plan(mark=100, resumed_from=None, resumed=(), held={one: 5, two: 7})
    assert [plan.counts_on(identity) for identity in (one, two, digest(b"new"))] == [True, True, False]
    assert [plan.sends(one, 3, is_gone=True), plan.sends(two, 3), plan.sends(one, 3, is_gone=True)] == [True, False, False]
    assert not plan.counts_on(one)
    assert (plan.new_digests, plan.chunks_offset, plan.oldest_offset) == (one, 100, 7)
    assert (plan.sent_bytes, plan.new_bytes, plan.reused_bytes) == (3, 3, 6)


WORDS = st.lists(st.sampled_from([bytes([n]) * 100 for n in range(12)]), min_size=1, max_size=12)


def known(offset: int | None, new: list[bytes], new_bytes: int) -> KnownRelease:
    return KnownRelease(Released(b"", offset, 0, b"".join(map(digest, new)), new_bytes), specimens.manifest(), "r")


SETS = st.sets(st.sampled_from([bytes([n]) * 100 for n in range(12)]))


@given(WORDS, SETS, SETS)
def test_sent_and_held_together_are_all_chunks_and_nothing_is_sent_twice(
    words: list[bytes], resumed: set[bytes], earlier: set[bytes]
) -> None:
    left, held = {digest(word) for word in resumed}, {digest(word): 5 for word in earlier}
    plan = Plan(mark=100, resumed_from=50 if resumed else None, resumed=left, held=held)
    sent = [digest(word) for word in words if plan.sends(digest(word), len(word))]
    wanted = {digest(word) for word in words}
    assert len(sent) == len(set(sent))
    assert set(sent) == wanted - left - set(held)
    assert plan.sent_bytes == 100 * len(sent)
    assert plan.sent_bytes + plan.reused_bytes == 100 * len(words)
    begin = 50 if wanted & left else 100
    assert plan.oldest_offset == (5 if wanted & set(held) - left else begin)
    new = wanted - (set(held) - left)
    assert plan.chunks_offset == (begin if new else None)
    assert {plan.new_digests[at : at + 32] for at in range(0, len(plan.new_digests), 32)} == new
    assert plan.new_bytes == 100 * len(new)


def test_a_chunk_counts_as_held_only_while_retention_cannot_have_dropped_it() -> None:
    old, new = [b"o" * 100], [b"n" * 100]
    releases = [known(10, old, 600), known(20, new, 500)]
    assert held_by_earlier(releases, mark=30, budget_bytes=None) == {digest(old[0]): 10, digest(new[0]): 20}
    assert held_by_earlier(releases, mark=30, budget_bytes=1_100) == {digest(old[0]): 10, digest(new[0]): 20}
    assert held_by_earlier(releases, mark=30, budget_bytes=1_000) == {digest(new[0]): 20}
    assert held_by_earlier(releases, mark=30, budget_bytes=400) == {}


def test_a_stream_that_was_made_anew_holds_nothing_of_before() -> None:
    assert held_by_earlier([known(10, [b"o" * 100], 100)], mark=3, budget_bytes=None) == {}


def test_the_latest_place_of_a_chunk_is_the_one_that_counts() -> None:
    word = [b"w" * 100]
    assert held_by_earlier([known(10, word, 100), known(20, word, 100)], mark=30, budget_bytes=None) == {digest(word[0]): 20}


def test_nothing_is_counted_on_that_stood_before_what_is_kept() -> None:
    releases = [known(5, [b"one"], 3), known(9, [b"two"], 3)]
    assert held_by_earlier(releases, mark=20, budget_bytes=None, oldest=9) == {digest(b"two"): 9}
    assert held_by_earlier(releases, mark=20, budget_bytes=None, oldest=10) == {}
