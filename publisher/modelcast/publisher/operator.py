"""What operations do with releases that are there: promote one from channel to channel, and roll a channel back.

Decides what a promotion demands of the channel before. No byte of an artifact is sent,
and the manifest with its signature stays what it was. Imports the other modules of this room.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from modelcast.publisher.acceptance import check_accepted, was_refused
from modelcast.publisher.catalog import Catalog, KnownRelease, Ordered, Withdrawal
from modelcast.publisher.choosing import before_and_after, gone, not_pruned, order_for, ran_before, release_of
from modelcast.publisher.holding import has_lost
from modelcast.publisher.ordering import Instruction, send_order
from modelcast.publisher.preflight import Forecast, Question, ask
from modelcast.publisher.publication import Publication
from modelcast.publisher.publisher import MAX_EXPIRES_SECONDS, wait_for_verdicts
from modelcast.publisher.sessions import Sessions
from modelcast.publisher.waiting import Outcome
from modelcast.shared.errors import HostFault, MisuseError
from modelcast.shared.keyfiles import load_signing_key
from modelcast.shared.names import Version, check_name
from modelcast.shared.order import Kind
from modelcast.shared.publishing_road import PublisherRoad
from modelcast.shared.report import Report
from modelcast.shared.road import Road
from modelcast.shared.roads import as_road
from modelcast.shared.signing import SigningKey

Result = TypeVar("Result")


class Operator:
    """Orders channels to run releases that were published before.

    Args:
        url: The road: ``amqp://user:password@host:5672/vhost``, ``file:///srv/models``, or a road of your own.
        order_key: Private key, or the path of one, that signs orders. It need not be one that may sign manifests: who trains
            cannot thereby release, and who releases cannot thereby make models.
        busy_seconds: How long to wait for whoever else orders the same model, or publishes it and is not sending just then.
        on_busy: Is told in a sentence when one is waited for.

    Raises:
        MisuseError: An argument cannot work.
        InvalidKey, MissingPath: The key cannot be read.
    """

    def __init__(
        self, url: str | Road, *, order_key: str | Path | SigningKey, busy_seconds: float = 60.0,
        on_busy: Callable[[str], None] | None = None,
    ) -> None:
        self._key = order_key if isinstance(order_key, SigningKey) else load_signing_key(order_key)
        self._road = as_road(url)
        self._sessions = Sessions(self._road, busy_seconds, on_busy)

    def promote(
        self, model: str, version: str, *, to_channel: str = "production", from_channel: str | None = None,
        require_verdicts: float | None = None, expires_seconds: float | None = None, again: bool = False,
    ) -> Publication:
        """Order a channel to run a release that is there.

        Args:
            model: Name of the model.
            version: Its version.
            to_channel: The channel that shall run it.
            from_channel: The channel that ran it before, such as ``staging``; None asks for none.
            require_verdicts: Share of the instances of ``from_channel`` that must have promoted it, above 0 and up to 1. One
                that rejected it counts against it, and so does one that has not decided.
            expires_seconds: Instances that see the order later reject it.
            again: Order it even if it runs already, was rolled back in this channel, or its chunks are not on the road any more.

        Returns:
            What was ordered, with nothing sent; ``was_current`` when the channel runs it already.

        Raises:
            NotFound: There is no such release, its chunks are not on the road any more, or ``from_channel`` never ran it.
            NotAccepted: Not enough instances of ``from_channel`` accepted it.
            Withdrawn: It was rolled back in this channel.
            HostFault: The road broke; call again.
        """
        check_share(from_channel, require_verdicts)
        wish = _Wish(check_name("channel", to_channel), Version(version).text, expires_seconds, again)
        if from_channel is not None:
            check_name("channel", from_channel)

        def act(session: PublisherRoad, catalog: Catalog) -> Publication:
            """Look at what there is, then order."""
            known = release_of(catalog, model, wish.version)
            if from_channel is not None:
                before = order_for(catalog, from_channel, known)
                if require_verdicts is not None:
                    accepted = publication_of(known, before, was_current=True)
                    check_accepted(self._road, accepted, require_verdicts, catalog.retired(from_channel).values())
            last = catalog.last_order(wish.channel)
            if last is not None and last.release == known.release and last.up_to is None and not again:
                return publication_of(known, last, was_current=True)
            if not again:
                catalog.refuse_withdrawn(wish.channel, known.release, known.manifest.version)
            return self._order(session, catalog, known, wish)

        return self._sessions.act(check_name("model", model), wish.channel, act)

    def rollback(
        self, model: str, *, channel: str = "production", to: str | None = None, reason: str = "",
        expires_seconds: float | None = None,
    ) -> Publication:
        """Order a channel to go back, and withdraw the release that it leaves: it comes back only when somebody insists.

        Instances that still have the release switch without any transfer, also when its chunks are not on the road any more: then
        the others cannot.

        Args:
            model: Name of the model.
            channel: The channel.
            to: The version to go back to; the one that the channel ran before when left out. What instances refused and none took
                it did not run.
            reason: Why, for the history.
            expires_seconds: Instances that see the order later reject it.

        Returns:
            What was ordered; ``chunks_are_gone`` when only instances that hold it can follow.

        Raises:
            NotFound: The channel runs nothing, or ran nothing before, or there is no such release.
            HostFault: The road broke; call again.
        """
        wish = _Wish(check_name("channel", channel), None if to is None else Version(to).text, expires_seconds, again=True)

        def act(session: PublisherRoad, catalog: Catalog) -> Publication:
            """Withdraw what is left, then order."""
            left, target = before_and_after(catalog, model, wish.channel, wish.version, self._was_refused)
            return self._go_back(session, catalog, (left, target), wish, reason)

        return self._sessions.act(check_name("model", model), wish.channel, act)

    def leave_rollout(self, model: str, rollout: int, *, channel: str = "production", reason: str = "") -> Publication | None:
        """Order a channel to go back from a gradual rollout, to what was ordered last for all of it; see ``rollback``.

        Args:
            model: Name of the model.
            rollout: Number of the rollout.
            channel: The channel.
            reason: Why, for the history.

        Returns:
            What was ordered; None where no wave was ordered, something else was ordered since, or nothing ran before.

        Raises:
            HostFault: The road broke; call again.
        """
        wish = _Wish(check_name("channel", channel), None, None, again=True)

        def act(session: PublisherRoad, catalog: Catalog) -> Publication | None:
            """Look whether the channel is still in this rollout, then go back."""
            found = catalog.rollouts.last(channel)
            if found is None or found.begun.sequence != rollout or not found.may_be_out or found.left_by is not None:
                return None
            before = [order for order in catalog.orders[channel] if order.sequence < rollout]
            target = ran_before(catalog, channel, before, found.begun.release, self._was_refused)
            if target is None:
                return None
            return self._go_back(session, catalog, (catalog.by_id(found.begun.release), target), wish, reason)

        return self._sessions.act(check_name("model", model), wish.channel, act)

    def preflight(self, model: str, version: str, *, channel: str = "production", timeout_seconds: float = 10.0) -> Forecast:
        """Ask the instances of a channel whether they would take a release that is there; see ``Publisher.preflight``.

        Raises:
            NotFound: There is no such release, or its chunks were removed.
            HostFault: The road broke.
        """
        check_name("model", model)
        check_name("channel", channel)
        wanted = Version(version).text
        return ask(
            self._road, lambda: self._sessions.open(model, channel, sends=False),
            lambda catalog: Question(model, channel, not_pruned(release_of(catalog, model, wanted)).record.manifest), self._key,
            timeout_seconds=timeout_seconds,
        )

    def wait(
        self, publication: Publication, *, instances: int | None = None, share: float | None = None, timeout_seconds: float = 600.0,
        on_verdict: Callable[[Report], None] = lambda _report: None,
    ) -> Outcome:
        """Wait until instances have decided; see ``Publisher.wait``."""
        return wait_for_verdicts(
            self._road, publication, instances=instances, share=share, timeout_seconds=timeout_seconds, on_verdict=on_verdict
        )

    def _go_back(
        self, session: PublisherRoad, catalog: Catalog, from_to: tuple[KnownRelease | None, KnownRelease], wish: "_Wish", reason: str
    ) -> Publication:
        left, target = from_to
        if left is not None and left.release != target.release:
            withdrawal = Withdrawal(wish.channel, left.release, left.manifest.version, time.time_ns() // 1_000_000, reason)
            session.register.append(withdrawal.to_bytes())   # first: whoever comes after a crash knows it
        return self._order(session, catalog, target, wish, kind=Kind.ROLLBACK)

    def _order(
        self, session: PublisherRoad, catalog: Catalog, known: KnownRelease, wish: "_Wish", kind: Kind = Kind.PROMOTION
    ) -> Publication:
        are_gone = kind is Kind.PROMOTION and has_lost(session, catalog, known)
        if are_gone and not wish.again:
            raise gone(known)
        now_ms, model = time.time_ns() // 1_000_000, known.manifest.model
        expires_ms = wish.expires_ms(now_ms)
        instruction = Instruction(model, wish.channel, known.release, known.record, kind, expires_ms, began=wish.began)
        ordered = send_order(session, catalog, instruction, self._key, now_ms)
        if kind is Kind.ROLLBACK:
            with suppress(HostFault):   # looked at when it is ordered: nothing keeps a channel from going back
                are_gone = has_lost(session, catalog, known)
        return replace(publication_of(known, ordered, was_current=False), chunks_are_gone=are_gone)

    def _was_refused(self, known: KnownRelease, ordered: Ordered) -> bool:
        return was_refused(self._road, publication_of(known, ordered, was_current=False))


@dataclass(frozen=True, slots=True)
class _Wish:
    channel: str
    version: Any
    expires_seconds: float | None
    again: bool
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.expires_seconds is not None and not 0 < self.expires_seconds <= MAX_EXPIRES_SECONDS:
            raise MisuseError(
                f"An order cannot expire after {self.expires_seconds} seconds.", hint="Give more than 0, up to 100 years."
            )

    def expires_ms(self, now_ms: int) -> int | None:
        """When an order that is issued now expires, or None."""
        return None if self.expires_seconds is None else now_ms + round(self.expires_seconds * 1000)


def check_share(from_channel: str | None, require_verdicts: float | None) -> None:
    """Refuse a share of verdicts that cannot be asked for; raises MisuseError."""
    if require_verdicts is not None and (from_channel is None or not 0 < require_verdicts <= 1):
        raise MisuseError(
            "A share of verdicts is asked of the channel before: above 0 and up to 1.",
            hint='promote(..., from_channel="staging", require_verdicts=0.95)',
        )


def publication_of(known: KnownRelease, ordered: Ordered, *, was_current: bool) -> Publication:
    """Return what was done by an order for a release that was there."""
    size = known.manifest.artifact.size
    return Publication(
        model=known.manifest.model, version=known.manifest.version, channel=ordered.channel, release=known.release,
        order=ordered.order or "",
        sequence=ordered.sequence, issued_ms=ordered.issued_ms, total_bytes=size, sent_bytes=0, reused_bytes=size, wire_bytes=0,
        was_current=was_current,
    )
