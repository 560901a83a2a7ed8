"""What an instance runs once an order was carried out."""

from dataclasses import replace

import pytest
from tests.fakes.publisher_sim import PublisherSimulator

from modelcast.consumer.pointer import TRIES, KeptBookmark, Pointer
from modelcast.consumer.succession import pointer_after, pointer_without, standing_of
from modelcast.consumer.trust import TrustedOrder, open_order
from modelcast.shared.names import Version
from modelcast.shared.order import Kind
from modelcast.shared.road import Bookmark

MARK = KeptBookmark(Bookmark(7, "ab" * 32), b"reader")


@pytest.fixture
def order(signing_key, key_ring):
    """Makes trusted orders."""
    sim = PublisherSimulator(None, signing_key)

    def order(version: str, kind: Kind = Kind.PROMOTION) -> TrustedOrder:
        return open_order(sim.order(sim.release(version), kind=kind), key_ring, model="fraud", channel="production")

    return order


def after(trusted: TrustedOrder, before: Pointer | None, *, floor_lifted: bool = False, bookmark: KeptBookmark | None = None) -> Pointer:
    return pointer_after(trusted, before, floor_lifted=floor_lifted, bookmark=bookmark)


def test_the_first_release_is_its_own_floor_and_has_none_before_it(order) -> None:
    first = order("1.0.0")
    pointer = after(first, None, bookmark=MARK)
    assert (pointer.release, pointer.previous, pointer.sequence, pointer.floor) == (first.release, None, 1, "1.0.0")
    assert (pointer.floor_artifact, pointer.tries_left, pointer.bookmark) == (first.manifest.artifact.identity, TRIES, MARK)


def test_the_release_before_is_the_previous_one_and_the_floor_rises(order) -> None:
    first, second = order("1.0.0"), order("2.0.0")
    pointer = after(second, replace(after(first, None, bookmark=MARK), tries_left=1))
    assert (pointer.release, pointer.previous, pointer.floor, pointer.tries_left) == (second.release, first.release, "2.0.0", TRIES)
    assert pointer.bookmark == MARK   # none was given: it stays


def test_a_rollback_lowers_the_floor_and_a_promotion_does_not(order) -> None:
    high = after(order("3.0.0"), None)
    back = after(order("1.0.0", Kind.ROLLBACK), high)
    assert (back.floor, back.floor_artifact) == ("1.0.0", order("1.0.0").manifest.artifact.identity)
    lower = after(order("2.0.0"), high)
    assert (lower.floor, lower.floor_artifact) == ("3.0.0", high.floor_artifact)
    assert after(order("2.0.0"), high, floor_lifted=True).floor == "2.0.0"


def test_the_same_release_again_keeps_the_one_before_it(order) -> None:
    first, second = order("1.0.0"), order("2.0.0")
    pointer = after(second, after(first, None))
    assert after(order("2.0.0"), pointer).previous == first.release


def test_a_bad_release_that_proves_itself_is_bad_no_more(order) -> None:
    first, second = order("1.0.0"), order("2.0.0")
    before = replace(after(first, None), bad=(second.release, "f" * 64))
    assert after(second, before).bad == ("f" * 64,)


def test_what_came_back_was_put_there_by_no_order_until_the_next_one(order) -> None:
    first = after(order("1.0.0"), None)
    second = after(order("1.1.0"), first)
    back = pointer_without(second, second.release or "")
    assert second.put_there_by == (second.sequence, second.order)
    assert (back.release, back.sequence, back.put_there_by) == (first.release, second.sequence, (0, None))
    third = order("1.2.0")
    assert after(third, back).put_there_by == (third.order.sequence, third.id)


def test_without_a_pointer_nothing_was_ordered() -> None:
    standing = standing_of(None, None, [("1.0.0", b"x")])
    assert (standing.sequence, standing.floor, standing.identities) == (0, None, (("1.0.0", b"x"),))


def test_the_floor_is_known_by_its_bytes_also_when_its_release_is_gone(order) -> None:
    pointer = after(order("2.0.0"), None)
    standing = standing_of(pointer, None, [("1.0.0", b"x")])
    assert dict(standing.identities) == {"1.0.0": b"x", "2.0.0": pointer.floor_artifact}
    assert (standing.floor, standing.ordered_release) == (Version("2.0.0"), pointer.release)
    assert standing_of(replace(pointer, is_lost=True), None, []).ordered_release is None
