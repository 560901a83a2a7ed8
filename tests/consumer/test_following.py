"""What a follower does next, as a table of what it saw: the pointer decides, the candidate only prepares."""

import pytest

from modelcast.consumer.following import Following, Seen, Step

A, B, C = "a" * 64, "b" * 64, "c" * 64


def steps(following: Following, seen: Seen, now: float = 0.0, failing: tuple[str, ...] = (), retry_at: float = 10.0) -> list[tuple[Step, str]]:
    """Do what is due until nothing is, as a worker would that can prepare all but ``failing``."""
    done: list[tuple[Step, str]] = []
    while (due := following.next(seen, now)) is not None:
        done.append(due)
        step, release = due
        if step is Step.DROP:
            following.shadow = None
            continue
        following.in_hand = release
        assert following.next(seen, now) is None   # one thing at a time
        if step is Step.SERVE:
            following.shadow = None
            following.served(release)
        elif release in failing:
            following.failed(release, f"{release[0]} fails", retry_at)
        else:
            following.prepared(release)
    return done


def test_without_a_pointer_and_without_a_candidate_it_waits() -> None:
    assert steps(Following(), Seen()) == []


def test_it_serves_what_the_pointer_names() -> None:
    following = Following()
    assert steps(following, Seen(active=A)) == [(Step.PREPARE, A), (Step.SERVE, A)]
    assert steps(following, Seen(active=A, previous=B)) == []
    assert following.fault(Seen(active=A)) is None


def test_a_candidate_is_prepared_and_served_only_when_the_pointer_names_it() -> None:
    following = Following(serving=A)
    assert steps(following, Seen(active=A, candidate=B)) == [(Step.PREPARE, B)]
    assert following.serving == A
    assert steps(following, Seen(active=B, previous=A, candidate=B)) == [(Step.SERVE, B)]


def test_the_very_first_candidate_is_not_served_before_it_is_promoted_either() -> None:
    following = Following()
    assert steps(following, Seen(candidate=A)) == [(Step.PREPARE, A)]
    assert following.serving is None


def test_a_candidate_that_was_rejected_is_dropped() -> None:
    following = Following(serving=A)
    steps(following, Seen(active=A, candidate=B))
    assert steps(following, Seen(active=A)) == [(Step.DROP, B)]
    assert following.shadow is None


def test_one_that_took_the_place_of_another_is_prepared_after_that_is_dropped() -> None:
    following = Following(serving=A)
    steps(following, Seen(active=A, candidate=B))
    assert steps(following, Seen(active=A, candidate=C)) == [(Step.DROP, B), (Step.PREPARE, C)]


def test_who_was_not_ready_prepares_and_serves_as_soon_as_it_can() -> None:
    following = Following(serving=A)
    assert steps(following, Seen(active=B, previous=A, candidate=B)) == [(Step.PREPARE, B), (Step.SERVE, B)]


def test_a_rollback_is_a_release_like_any_other() -> None:
    following = Following(serving=B)
    assert steps(following, Seen(active=A, previous=B)) == [(Step.PREPARE, A), (Step.SERVE, A)]


def test_what_fails_here_leaves_the_old_model_says_why_and_is_tried_again_later() -> None:
    following, seen = Following(serving=A), Seen(active=B, previous=A)
    assert steps(following, seen, failing=(B,)) == [(Step.PREPARE, B)]
    assert (following.serving, following.fault(seen), following.failures_of(B)) == (A, "b fails", 1)
    assert steps(following, seen, now=9.0) == []
    assert steps(following, seen, now=10.0, failing=(B,), retry_at=30.0) == [(Step.PREPARE, B)]
    assert following.failures_of(B) == 2
    assert steps(following, seen, now=30.0) == [(Step.PREPARE, B), (Step.SERVE, B)]
    assert (following.fault(seen), following.failures_of(B)) == (None, 0)


def test_a_candidate_that_fails_here_is_no_fault_before_it_is_promoted() -> None:
    following = Following(serving=A)
    steps(following, Seen(active=A, candidate=B), failing=(B,))
    assert following.fault(Seen(active=A, candidate=B)) is None
    assert following.fault(Seen(active=B, previous=A)) == "b fails"


def test_with_nothing_in_service_the_one_before_is_better_than_nothing() -> None:
    following, seen = Following(), Seen(active=B, previous=A)
    assert steps(following, seen, failing=(B,)) == [(Step.PREPARE, B), (Step.PREPARE, A), (Step.SERVE, A)]
    assert following.fault(seen) == "b fails"
    assert steps(following, seen, now=10.0) == [(Step.PREPARE, B), (Step.SERVE, B)]


def test_with_both_failing_it_goes_on_trying() -> None:
    following, seen = Following(), Seen(active=B, previous=A)
    assert steps(following, seen, failing=(A, B)) == [(Step.PREPARE, B), (Step.PREPARE, A)]
    assert steps(following, seen, now=10.0) == [(Step.PREPARE, B), (Step.SERVE, B)]


def test_a_release_that_nobody_names_any_more_is_forgotten() -> None:
    following = Following(serving=A)
    steps(following, Seen(active=A, candidate=B), failing=(B,))
    steps(following, Seen(active=A))
    assert following.failures_of(B) == 0


def test_a_pointer_that_names_nothing_takes_nothing_away() -> None:
    following = Following(serving=A)
    assert steps(following, Seen(active=None, candidate=B)) == [(Step.PREPARE, B)]
    assert following.serving == A


def test_what_is_bad_is_left_for_the_one_before_and_not_taken_up_again() -> None:
    following = Following(serving=B)
    assert steps(following, Seen(active=B, previous=A, is_bad=True)) == [(Step.PREPARE, A), (Step.SERVE, A)]
    assert steps(following, Seen(active=B, previous=A, is_bad=True)) == []
    assert steps(following, Seen(active=A)) == []
    assert steps(following, Seen(active=B, previous=A)) == [(Step.PREPARE, B), (Step.SERVE, B)]   # a new order for it
    assert steps(following, Seen(active=B, is_bad=True)) == []   # nothing was before it


@pytest.mark.parametrize(
    ("following", "candidate", "is_ready"),
    [
        (Following(serving=A), None, False), (Following(serving=A), B, False), (Following(serving=A, shadow=B), B, True),
        (Following(serving=B), B, True), (Following(serving=A, in_hand=B), B, False),
    ],
    ids=["no candidate", "not prepared", "prepared", "in service", "in hand"],
)
def test_the_receiver_waits_for_whom_it_has_to(following: Following, candidate: str | None, is_ready: bool) -> None:
    assert following.is_ready_for(candidate) is is_ready


def test_the_receiver_does_not_wait_for_one_that_fails() -> None:
    following = Following(serving=A)
    steps(following, Seen(active=A, candidate=B), failing=(B,))
    assert following.is_ready_for(B)
