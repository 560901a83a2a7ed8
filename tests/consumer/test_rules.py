"""Whether an order may be carried out: each rule with both sides in its facts, and none of them needs a byte of the artifact."""

from dataclasses import replace

import pytest
from tests.fakes.publisher_sim import HERE, PublisherSimulator

from modelcast.consumer.policy import Dependencies, Policy
from modelcast.consumer.rules import Host, Ruling, Standing, rule
from modelcast.consumer.trust import TrustedOrder, open_order
from modelcast.shared.errors import SenderFault
from modelcast.shared.manifest import Environment
from modelcast.shared.names import Version, VersionRange
from modelcast.shared.order import Kind
from modelcast.shared.reasons import Reason
from modelcast.shared.signing import KeyRing, SigningKey

NOW_MS = 1_735_689_600_000
HOST = Host("3.11.7", "cpython", {"scikit-learn": "1.6.1"}.get, frozenset({"files", "cloudpickle"}))
POLICY = Policy()
FRESH = Standing()


@pytest.fixture
def sim(signing_key: SigningKey) -> PublisherSimulator:
    return PublisherSimulator(None, signing_key)


@pytest.fixture
def trust(key_ring: KeyRing):
    return lambda body: open_order(body, key_ring, model="fraud", channel="production")


def ruling(trusted: TrustedOrder, standing: Standing = FRESH, policy: Policy = POLICY, host: Host = HOST, now_ms: int = NOW_MS) -> Ruling:
    return rule(trusted, standing, policy, host, now_ms=now_ms)


def refusal(trusted: TrustedOrder, standing: Standing = FRESH, policy: Policy = POLICY, host: Host = HOST, now_ms: int = NOW_MS) -> SenderFault:
    with pytest.raises(SenderFault) as raised:
        ruling(trusted, standing, policy, host, now_ms)
    return raised.value


def running(trusted: TrustedOrder) -> Standing:
    """What an instance is that has carried out an order."""
    return Standing(
        trusted.order.sequence, trusted.version, trusted.release,
        ((trusted.version.text, trusted.manifest.artifact.identity),), trusted.release,
    )


def test_an_instance_that_has_nothing_takes_any_version(sim, trust) -> None:
    assert ruling(trust(sim.order(sim.release("0.0.1")))) is Ruling.CARRY_OUT


# --------------------------------------------------------------------------- sequence


def test_an_order_that_was_carried_out_is_stale(sim, trust) -> None:
    one = trust(sim.order(sim.release("1.0.0")))
    assert ruling(one, running(one)) is Ruling.STALE


def test_an_order_before_the_last_one_is_stale_whatever_it_says(sim, trust) -> None:
    old = trust(sim.order(sim.release("9.0.0", format_name="onnx"), expires_ms=0))
    last = trust(sim.order(sim.release("1.0.0")))
    assert ruling(old, running(last)) is Ruling.STALE


def test_the_same_number_for_another_release_is_a_conflict(sim, trust) -> None:
    one = trust(sim.order(sim.release("1.0.0"), sequence=4))
    two = trust(sim.order(sim.release("2.0.0"), sequence=4))
    fault = refusal(two, running(one))
    assert fault.reason is Reason.SEQUENCE_CONFLICT
    assert fault.facts == {"sequence": 4, "order": two.release, "carried_out": one.release}


def test_an_order_that_was_carried_out_is_stale_also_when_its_release_cannot_be_loaded_now(sim, trust) -> None:
    one = trust(sim.order(sim.release("1.0.0")))
    assert ruling(one, replace(running(one), active_release="f" * 64)) is Ruling.STALE


def test_the_order_of_a_release_that_was_lost_may_be_carried_out_again(sim, trust) -> None:
    before, lost = trust(sim.order(sim.release("1.0.0"))), trust(sim.order(sim.release("2.0.0")))
    standing = replace(running(lost), active_release=before.release, ordered_release=None)
    assert ruling(lost, standing) is Ruling.CARRY_OUT
    assert ruling(before, standing) is Ruling.STALE


def test_the_order_of_a_release_that_crashed_its_process_is_refused_and_a_new_one_is_not(sim, trust) -> None:
    release = sim.release("2.0.0")
    bad, again = trust(sim.order(release)), trust(sim.order(release))
    standing = replace(running(bad), active_release="f" * 64, ordered_release="f" * 64, bad=(release.id,))
    fault = refusal(bad, standing)
    assert (fault.reason, fault.facts) == (Reason.LOAD_FAILED, {"release": release.id})
    assert ruling(again, standing) is Ruling.CARRY_OUT


# --------------------------------------------------------------------------- expiry


def test_an_order_counts_until_the_very_millisecond_of_its_end(sim, trust) -> None:
    order = trust(sim.order(sim.release("1.0.0"), expires_ms=NOW_MS))
    assert ruling(order, now_ms=NOW_MS) is Ruling.CARRY_OUT
    fault = refusal(order, now_ms=NOW_MS + 1)
    assert (fault.reason, fault.facts) == (Reason.EXPIRED, {"expires_ms": NOW_MS, "now_ms": NOW_MS + 1})


# --------------------------------------------------------------------------- version


def test_a_version_below_the_floor_is_a_downgrade(sim, trust) -> None:
    high, low = trust(sim.order(sim.release("2.0.0"))), trust(sim.order(sim.release("1.9.9")))
    fault = refusal(low, running(high))
    assert (fault.reason, fault.facts) == (Reason.VERSION_DOWNGRADE, {"version": "1.9.9", "floor": "2.0.0"})


def test_a_pre_release_is_below_its_release(sim, trust) -> None:
    high, low = trust(sim.order(sim.release("2.0.0"))), trust(sim.order(sim.release("2.0.0-rc.1")))
    assert refusal(low, running(high)).reason is Reason.VERSION_DOWNGRADE


def test_a_rollback_goes_below_the_floor(sim, trust) -> None:
    high, low = trust(sim.order(sim.release("2.0.0"))), trust(sim.order(sim.release("1.0.0"), kind=Kind.ROLLBACK))
    assert ruling(low, running(high)) is Ruling.CARRY_OUT


def test_the_version_of_the_floor_itself_may_come_again(sim, trust) -> None:
    release = sim.release("2.0.0")
    first, again = trust(sim.order(release)), trust(sim.order(release))
    assert ruling(again, running(first)) is Ruling.CARRY_OUT


def test_the_floor_by_precedence_lets_another_build_of_it_in(sim, trust) -> None:
    first, other = trust(sim.order(sim.release("2.0.0+a"))), trust(sim.order(sim.release("2.0.0+b")))
    assert ruling(other, running(first)) is Ruling.CARRY_OUT


def test_the_floor_holds_also_when_something_lower_is_active(sim, trust) -> None:
    """After the active release was lost: the one before serves, but nothing between the two is promoted."""
    lost = replace(running(trust(sim.order(sim.release("1.0.0")))), floor=Version("2.0.0"))
    assert refusal(trust(sim.order(sim.release("1.5.0"))), lost).facts == {"version": "1.5.0", "floor": "2.0.0"}


def test_the_same_version_with_other_bytes_is_a_conflict(sim, trust) -> None:
    one = trust(sim.order(sim.release("1.0.0", {"model.bin": b"one"})))
    two = trust(sim.order(sim.release("1.0.0", {"model.bin": b"two"})))
    fault = refusal(two, running(one))
    assert fault.reason is Reason.VERSION_CONFLICT
    assert fault.facts == {"known": one.manifest.artifact.identity.hex(), "order": two.manifest.artifact.identity.hex()}


def test_the_same_version_with_the_same_bytes_built_again_is_no_conflict(sim, trust) -> None:
    files = {"model.bin": b"the same"}
    one = trust(sim.order(sim.release("1.0.0", files)))
    again = trust(sim.order(sim.release("1.0.0", files, created="2026-01-01T00:00:00Z")))
    assert one.release != again.release
    assert ruling(again, running(one)) is Ruling.CARRY_OUT


def test_other_bytes_are_a_conflict_also_by_a_rollback(sim, trust) -> None:
    one = trust(sim.order(sim.release("1.0.0", {"model.bin": b"one"})))
    two = trust(sim.order(sim.release("1.0.0", {"model.bin": b"two"}), kind=Kind.ROLLBACK))
    assert refusal(two, running(one)).reason is Reason.VERSION_CONFLICT


@pytest.mark.parametrize(("version", "accept"), [("3.0.0", ">=2,<3"), ("1.9.9", ">=2,<3"), ("3.0.0-rc.1", ">=2,<3"), ("2.5.0", "==2.4.0")])
def test_a_version_outside_the_range_is_refused(sim, trust, version: str, accept: str) -> None:
    fault = refusal(trust(sim.order(sim.release(version))), policy=Policy(VersionRange(accept)))
    assert (fault.reason, fault.facts) == (Reason.VERSION_OUT_OF_RANGE, {"version": version, "accept": accept})


def test_a_rollback_must_stay_in_the_range_too(sim, trust) -> None:
    low = trust(sim.order(sim.release("1.0.0"), kind=Kind.ROLLBACK))
    assert refusal(low, policy=Policy(VersionRange(">=2"))).reason is Reason.VERSION_OUT_OF_RANGE


# --------------------------------------------------------------------------- artifact


def test_a_format_that_is_not_allowed_is_refused(sim, trust) -> None:
    fault = refusal(trust(sim.order(sim.release("1.0.0", format_name="safetensors"))), policy=Policy(formats=("files",)))
    assert (fault.reason, fault.facts) == (Reason.FORMAT_NOT_ALLOWED, {"format": "safetensors", "allowed": ["files"]})


def test_a_loader_that_is_not_here_is_named(sim, trust) -> None:
    fault = refusal(trust(sim.order(sim.release("1.0.0", loader="mine"))))
    assert fault.reason is Reason.INCOMPATIBLE_ENVIRONMENT
    assert fault.facts == {"loader": "mine", "available": ["cloudpickle", "files"]}


def test_an_artifact_may_be_as_large_as_the_limit_and_no_larger(sim, trust) -> None:
    order = trust(sim.order(sim.release("1.0.0", {"model.bin": bytes(1000)})))
    assert ruling(order, policy=Policy(max_artifact_bytes=1000)) is Ruling.CARRY_OUT
    fault = refusal(order, policy=Policy(max_artifact_bytes=999))
    assert (fault.reason, fault.facts) == (Reason.TOO_LARGE, {"size": 1000, "limit": 999})


# --------------------------------------------------------------------------- environment


@pytest.mark.parametrize(
    ("python", "implementation", "fits"),
    [("3.11.7", "cpython", True), ("3.11.0", "cpython", True), ("3.12.0", "cpython", False), ("3.11.7", "pypy", False)],
)
def test_a_pickle_needs_the_same_implementation_and_minor_version_of_python(sim, trust, python, implementation, fits) -> None:
    built = HERE.model_copy(update={"python": python, "implementation": implementation})
    order = trust(sim.order(sim.release("1.0.0", format_name="cloudpickle", environment=built)))
    if fits:
        assert ruling(order) is Ruling.CARRY_OUT
    else:
        fault = refusal(order)
        assert fault.reason is Reason.INCOMPATIBLE_ENVIRONMENT
        assert fault.facts == {"built_with": f"{implementation} {python}", "here": "cpython 3.11.7"}


def test_other_formats_do_not_care_about_python(sim, trust) -> None:
    built = HERE.model_copy(update={"python": "3.8.0", "implementation": "pypy"})
    assert ruling(trust(sim.order(sim.release("1.0.0", environment=built)))) is Ruling.CARRY_OUT


@pytest.mark.parametrize(
    ("built", "exact", "minor", "installed", "ignore"),
    [
        ("1.6.1", True, True, True, True),
        ("1.6.0", False, True, True, True),
        ("1.5.2", False, False, True, True),
        ("2.6.1", False, False, True, True),
    ],
)
def test_how_alike_libraries_must_be_is_the_applications_choice(sim, trust, built, exact, minor, installed, ignore) -> None:
    environment = HERE.model_copy(update={"dependencies": {"scikit-learn": built}})
    order = trust(sim.order(sim.release("1.0.0", environment=environment)))
    for choice, fits in zip(Dependencies, (exact, minor, installed, ignore), strict=True):
        if fits:
            assert ruling(order, policy=Policy(dependencies=choice)) is Ruling.CARRY_OUT
        else:
            fault = refusal(order, policy=Policy(dependencies=choice))
            assert fault.reason is Reason.INCOMPATIBLE_ENVIRONMENT
            assert fault.facts == {"libraries": {"scikit-learn": f"built with {built}, here 1.6.1"}}


def test_a_library_that_is_missing_is_named_unless_all_is_ignored(sim, trust) -> None:
    environment = HERE.model_copy(update={"dependencies": {"lightgbm": "4.5.0"}})
    order = trust(sim.order(sim.release("1.0.0", environment=environment)))
    for choice in (Dependencies.EXACT, Dependencies.MINOR, Dependencies.INSTALLED):
        fault = refusal(order, policy=Policy(dependencies=choice))
        assert fault.facts == {"libraries": {"lightgbm": "built with 4.5.0, here not installed"}}
    assert ruling(order, policy=Policy(dependencies=Dependencies.IGNORE)) is Ruling.CARRY_OUT


def test_all_libraries_that_differ_are_named_at_once(sim, trust) -> None:
    environment: Environment = HERE.model_copy(update={"dependencies": {"b": "1", "a": "2", "scikit-learn": "1.6.0"}})
    fault = refusal(trust(sim.order(sim.release("1.0.0", environment=environment))))
    assert fault.facts["libraries"].keys() == {"a", "b"}
    assert str(fault).index("a built") < str(fault).index("b built")


# --------------------------------------------------------------------------- rollouts


def test_a_later_wave_of_a_rollout_that_was_carried_out_here_is_stale(sim, trust) -> None:
    release = sim.release("1.1.0")
    first = trust(sim.order(release, up_to=5, rollout=1))
    later = trust(sim.order(release, rollout=1))
    assert (first.order.sequence, later.order.sequence) == (1, 2)
    assert ruling(later, running(first)) is Ruling.STALE
    assert ruling(later, FRESH) is Ruling.CARRY_OUT


def test_the_same_release_in_another_rollout_or_by_an_order_for_all_is_carried_out(sim, trust) -> None:
    release = sim.release("1.1.0")
    standing = running(trust(sim.order(release, up_to=5, rollout=1)))
    assert ruling(trust(sim.order(release, rollout=2)), standing) is Ruling.CARRY_OUT
    assert ruling(trust(sim.order(release)), standing) is Ruling.CARRY_OUT


def test_what_was_reported_as_bad_is_not_taken_again_by_a_later_wave_of_its_rollout(sim, trust) -> None:
    before, release = sim.release("1.0.0"), sim.release("1.1.0")
    taken_out = replace(running(trust(sim.order(before))), sequence=2, bad=(release.id,), ordered_release=before.id)
    fault = refusal(trust(sim.order(release, rollout=2)), taken_out)
    assert fault.reason is Reason.LOAD_FAILED
    assert ruling(trust(sim.order(release, rollout=3)), taken_out) is Ruling.CARRY_OUT


def test_a_rollback_meanwhile_and_another_rollout_are_two_things(sim, trust) -> None:
    one, two = sim.release("1.0.0"), sim.release("1.1.0")
    standing = running(trust(sim.order(one, sequence=5, kind=Kind.ROLLBACK)))
    assert ruling(trust(sim.order(two, sequence=6, rollout=4)), standing) is Ruling.CARRY_OUT
