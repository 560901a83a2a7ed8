"""Puts a status together from those who know: one snapshot, without waiting. Decides the sentence for people."""

import time

from modelcast.consumer.courier import Courier
from modelcast.consumer.follower import Follower
from modelcast.consumer.lifecycle import State
from modelcast.consumer.policy import Timing
from modelcast.consumer.runtime import Runtime
from modelcast.consumer.status import Status, served
from modelcast.consumer.updater import Updater
from modelcast.consumer.verdicts import Verdicts
from modelcast.shared.reasons import EXPLANATIONS, Reason
from modelcast.shared.report import Verdict

LIVE_WITHIN_SECONDS = 75.0
"""The I/O thread turns every second, but a connection attempt or a report to a slow broker may take 15 to 60 s."""


def overview(courier: Courier, updater: Updater, verdicts: Verdicts, runtime: Runtime, timing: Timing) -> Status:
    """Return the status of a started consumer."""
    active, target, in_hand = verdicts.slot.active, updater.setting.target, updater.in_hand
    live = runtime.is_live(LIVE_WITHIN_SECONDS)
    contact = courier.last_contact
    fresh = live and contact is not None and time.monotonic() - contact < timing.fresh_seconds
    connected = live and courier.connected_since_ms is not None
    return Status(
        live=live, ready=active is not None, fresh=fresh, state=updater.state.value if live else "dead",
        detail=_sentence(courier, updater, runtime, live=live, serving=active.version if active else None),
        instance=target.instance, model=target.model, channel=target.channel, role="receiver",
        **served(active), in_hand_seconds=time.monotonic() - in_hand.begun if in_hand else 0.0, connected=connected,
        connected_since_ms=courier.connected_since_ms if connected else None, last_contact_ms=courier.last_contact_ms,
        last_verdict=verdicts.last, fault=updater.fault or courier.fault,
        promoted=verdicts.counts[Verdict.PROMOTED], rejected=verdicts.counts[Verdict.REJECTED],
        superseded=verdicts.counts[Verdict.SUPERSEDED], deferred=verdicts.counts[Verdict.DEFERRED],
        foreign=updater.foreign, reconnects=courier.losses, unsent_reports=len(verdicts.ledger.unsent),
        connection_failures=courier.failures, update_failures=verdicts.tallies.failures,
    )


def overview_of_follower(
    follower: Follower, runtime: Runtime, timing: Timing, names: tuple[str, str, str | None]
) -> Status:
    """Return the status of a started consumer that follows; ``names`` are those of model, channel and instance."""
    active, notice, (model, channel, instance) = follower.slot.active, follower.notice, names
    live = runtime.is_live(LIVE_WITHIN_SECONDS)
    contact, since_ms = follower.last_contact, notice.connected_since_ms if notice else None
    connected = live and since_ms is not None and follower.hears_receiver
    return Status(
        live=live, ready=active is not None,
        fresh=live and contact is not None and time.monotonic() - contact < timing.fresh_seconds,
        state=(State.LOADING if follower.following.in_hand else State.IDLE).value if live else "dead",
        detail=_sentence_of_follower(follower, runtime, live=live, serving=active.version if active else None),
        instance=instance or (notice.instance if notice else ""), model=model, channel=channel, role="follower",
        **served(active), connected=connected, connected_since_ms=since_ms if connected else None,
        last_contact_ms=follower.last_contact_ms, fault=follower.fault,
    )


def _serves(serving: str | None) -> str:
    return f"Serves {serving}" if serving else "Serves nothing yet"


def _why_not_live(serves: str, runtime: Runtime) -> str:
    if runtime.forked:
        return f"{serves}, but is a forked child without threads: it will never see a newer release. Start it after the fork."
    return f"{serves}, but its threads are dead or stuck: it will not see a newer release. Restart the application."


def _sentence_of_follower(follower: Follower, runtime: Runtime, *, live: bool, serving: str | None) -> str:
    serves, notice = _serves(serving), follower.notice
    if not live:
        return _why_not_live(serves, runtime)
    if follower.fault is not None:
        return f"{serves}; cannot follow: {follower.fault}"
    if notice is None:
        return f"{serves}; is about to receive."
    if not follower.hears_receiver:
        return f"{serves}; follows process {notice.pid} of this host, which is stuck: restart that one."
    receives = "receives" if notice.connected_since_ms is not None else "is not connected"
    return f"{serves}; follows process {notice.pid} of this host, which {receives}."


def _sentence(courier: Courier, updater: Updater, runtime: Runtime, *, live: bool, serving: str | None) -> str:
    serves = _serves(serving)
    if not live:
        return _why_not_live(serves, runtime)
    in_hand = updater.in_hand
    if in_hand is not None and updater.state not in {State.IDLE, State.AHEAD}:   # written by another thread, one after the other
        return f"{serves}; {updater.state} {in_hand.trusted.manifest.version}."
    if updater.version_ahead is not None:
        return f"{serves}; receives {updater.version_ahead} ahead of its order."
    fault = updater.fault or courier.fault
    if courier.connected_since_ms is None:
        return f"{serves}; not connected: {fault or 'connecting'}"
    if fault is not None:
        return f"{serves}; {fault}"
    return f"{serves}; connected." + (_why_nothing(updater) if serving is None else "")


def _why_nothing(updater: Updater) -> str:
    """Say what stood between a connected instance and its first model."""
    last = updater.verdicts.last
    if last is not None and last.verdict == Verdict.REJECTED:
        remedy = EXPLANATIONS[Reason(last.reason)].remedy if last.reason else ""
        return f" It refused {last.version or 'an order'} ({last.reason}): {last.message} {remedy}".rstrip()
    return f" It passed over an order of the history ({updater.passed_over})" if updater.passed_over else ""
