"""What is remembered of orders that were sent back."""

from modelcast.consumer import replays as module
from modelcast.consumer.journal import Rejection
from modelcast.consumer.replays import MOST_REPLAYS, Replays

REFUSED = Rejection("order", "load-failed", "It does not load.", "1.0.0")


def test_each_time_that_an_order_is_sent_back_is_new_once() -> None:
    replays = Replays()
    assert replays.is_new("order", "first")
    begun = replays.begin("order", "first")
    assert (begun.order, begun.replay, begun.replays, begun.is_open) == ("order", "first", 1, True)
    assert not replays.is_new("order", "first")
    assert replays.is_new("order", "second")
    assert replays.is_new("other", "first")


def test_a_refusal_says_which_time_it_answers() -> None:
    replays = Replays()
    assert replays.marked(REFUSED) == REFUSED
    replays.begin("order", "first")
    replays.begin("order", "second")
    marked = replays.marked(REFUSED)
    assert (marked.reason, marked.replay, marked.replays, marked.is_open) == ("load-failed", "second", 2, False)


def test_after_a_restart_it_knows_what_was_answered_and_what_is_open() -> None:
    before = Replays()
    open_one = before.begin("order", "first")
    before.begin("other", "first")
    refused = before.marked(Rejection("other", "timed-out", "Too slow.", None))
    later = Replays()
    assert later.recall({"order": open_one, "other": refused, "plain": REFUSED}) == {"other": refused, "plain": REFUSED}
    assert not later.is_new("order", "first")
    assert not later.is_new("other", "first")
    assert later.begin("other", "second").replays == 2


def test_there_is_an_end_to_it() -> None:
    replays = Replays()
    for number in range(MOST_REPLAYS):
        assert replays.is_new("order", str(number))
        replays.begin("order", str(number))
    assert not replays.is_new("order", "one more")


def test_only_so_many_orders_are_remembered(monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_REJECTIONS", 3)
    replays = Replays()
    for number in range(5):
        replays.begin(str(number), "first")
    assert [replays.is_new(str(number), "first") for number in range(5)] == [True, True, False, False, False]
