"""Gradual rollouts as an operator has them: begin, look, pause, go on, abort; from any machine, whoever began them.

Decides what may follow what. Imports the driver and the desk, and the operator for going back.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from modelcast.publisher.acceptance import check_accepted
from modelcast.publisher.catalog import Catalog
from modelcast.publisher.choosing import gone, order_for, release_of
from modelcast.publisher.chronicle import HEARD_MINUTES, reports_of
from modelcast.publisher.holding import has_lost
from modelcast.publisher.listening import LastingReports, minutes_to_read
from modelcast.publisher.operator import Operator, check_share, publication_of
from modelcast.publisher.publication import Publication
from modelcast.publisher.rollout.desk import Desk, RolloutRoad, driver_name, now_ms, patiently
from modelcast.publisher.rollout.driver import Driver, Happening, unwatched
from modelcast.publisher.rollout.plan import Amount, RolloutPlan, check_vetoes, reach_of, reached
from modelcast.publisher.rollout.records import Begun, Phase, Rollout, Step, Stepped
from modelcast.publisher.rollout.status import RolloutStatus, status_of
from modelcast.publisher.rollout.tally import Tally
from modelcast.publisher.sessions import Sessions
from modelcast.shared.errors import MisuseError, NotFound
from modelcast.shared.keyfiles import load_signing_key
from modelcast.shared.limits import shortened
from modelcast.shared.names import Version, check_name
from modelcast.shared.publishing_road import PublisherRoad
from modelcast.shared.roads import as_road
from modelcast.shared.signing import SigningKey

Result = TypeVar("Result")


class Rollouts:
    """Gradual rollouts of the models on one road.

    Args:
        url: The road: ``amqp://user:password@host:5672/vhost``, ``file:///srv/models``, or a road of your own.
        order_key: Private key, or the path of one, that signs orders; None where nothing is ordered, to look and to pause.
        busy_seconds: How long to wait for whoever else orders the same model, or publishes it and is not sending just then.
        on_busy: Is told in a sentence when one is waited for.

    Raises:
        MisuseError: An argument cannot work.
        InvalidKey, MissingPath: The key cannot be read.
    """

    def __init__(
        self, url: str | RolloutRoad, *, order_key: str | Path | SigningKey | None = None, busy_seconds: float = 60.0,
        on_busy: Callable[[str], None] | None = None,
    ) -> None:
        road = as_road(url)
        if not hasattr(road, "records"):
            raise MisuseError("The registers of this road cannot be read.", hint="A road of your own needs records(model).")
        self._road, self._sessions = cast("RolloutRoad", road), Sessions(road, busy_seconds, on_busy)
        self._key = order_key if isinstance(order_key, SigningKey | None) else load_signing_key(order_key)

    def begin(
        self, model: str, version: str, *, channel: str = "production", plan: RolloutPlan, from_channel: str | None = None,
        require_verdicts: float | None = None, again: bool = False, watch: Callable[[Happening], None] = unwatched,
    ) -> RolloutStatus:
        """Roll a release out, wave by wave, and return when it is over, halts, or somebody paused it or took it over.

        Ended in between (the process killed, the machine gone) the rollout stays where it is: nothing more is ordered until
        somebody calls ``resume``.

        Args:
            model: Name of the model.
            version: Its version; the release is there.
            channel: The channel that shall run it.
            plan: Waves, and when to halt.
            from_channel: The channel that ran it before; see ``Operator.promote``.
            require_verdicts: Share of the instances of ``from_channel`` that must have promoted it.
            again: Roll it out even if it runs already, or was rolled back in this channel.
            watch: Is told what happens.

        Raises:
            MisuseError: Another rollout of the channel is under way, or the channel runs it already.
            NotFound: There is no such release, or no instance to begin with.
            NotAccepted, Withdrawn: See ``Operator.promote``.
            HostFault, PublisherBusy: The road stayed away, or another publisher did not end: call ``resume``.
        """
        self._must_sign()
        check_share(from_channel, require_verdicts)
        wanted, desk = _Wanted(Version(version).text, plan, from_channel, require_verdicts, again), self._desk(model, channel)
        if not self._heard(model, channel):
            raise NotFound(
                f"No instance of {model} in {channel} has reported lately: there is nobody to begin with.",
                hint="Promote it without waves; who comes later takes it from the history.",
            )
        self._sessions.act(desk.model, desk.channel, lambda session, catalog: self._begin(session, catalog, desk, wanted))
        return self._drive(desk, watch)

    def _begin(self, session: PublisherRoad, catalog: Catalog, desk: Desk, wanted: "_Wanted") -> None:
        """Write down what is planned, and who begins it."""
        channel, now = desk.channel, now_ms()
        known, last = release_of(catalog, desk.model, wanted.version), catalog.rollouts.last(channel)
        if last is not None and not last.is_over and last.phase is not Phase.HALTED:
            raise MisuseError(
                f"{last.begun.version} is being rolled out in {channel}: {last.phase}, {last.accepted} of "
                f"{len(last.plan.waves)} waves.",
                hint="End it first: modelcast rollout abort; or go on: modelcast rollout resume.",
            )
        if wanted.from_channel is not None:
            before = order_for(catalog, check_name("channel", wanted.from_channel), known)
            if wanted.require_verdicts is not None:
                accepted = publication_of(known, before, was_current=True)
                check_accepted(self._road, accepted, wanted.require_verdicts, catalog.retired(wanted.from_channel).values())
        current = catalog.last_order(channel)
        if current is not None and current.release == known.release and current.up_to is None and not wanted.again:
            raise MisuseError(
                f"{known.manifest.version} is what {channel} runs already.", hint="Roll it out once more all the same: --again.",
            )
        if not wanted.again and has_lost(session, catalog, known):
            raise gone(known)
        if not wanted.again:
            catalog.refuse_withdrawn(channel, known.release, known.manifest.version)
        begun = Begun(channel, catalog.next_sequence(channel, now), known.release, known.manifest.version, wanted.plan, now)
        session.register.append(begun.to_bytes())
        session.register.append(Stepped(channel, begun.sequence, Step.DRIVEN, now, desk.driver).to_bytes())

    def preview(
        self, model: str, version: str | None = None, *, channel: str = "production", plan: RolloutPlan
    ) -> list[tuple[str, ...]]:
        """Return which of the instances that reported lately each wave would reach, without those of the waves before.

        Raises:
            NotFound: There is no such release.
            HostFault: The road broke.
        """
        if version is not None:
            release_of(Catalog(self._road.records(check_name("model", model))), model, Version(version).text)
        known, before, found = self._heard(model, channel), None, list[tuple[str, ...]]()
        seen = set[str]()
        for wave in plan.waves:
            before = reach_of(wave, known, before)
            found.append(tuple(name for name in reached(known, before) if name not in seen))
            seen.update(found[-1])
        return found

    def status(self, model: str, *, channel: str = "production") -> RolloutStatus:
        """Return how the last rollout of a channel stands.

        Raises:
            NotFound: There was none.
            HostFault: The road broke.
        """
        rollout = self._desk(model, channel).look()
        tally = _tally(model, rollout)
        for body in reports_of(self._road, minutes_to_read(rollout.begun.at_ms, now_ms())):
            tally.add(body)
        return status_of(model, rollout, tally)

    def pause(self, model: str, *, channel: str = "production", why: str = "") -> RolloutStatus:
        """Have nothing more ordered until somebody calls ``resume``; whoever drives it ends.

        Raises:
            NotFound: There was no rollout.
            MisuseError: It does not run.
        """
        self._change(model, channel, Step.PAUSED, {Phase.RUNNING}, why)
        return self.status(model, channel=channel)

    def resume(
        self, model: str, *, channel: str = "production", max_failures: str | int | None = None,
        max_vetoes: int | None = None, watch: Callable[[Happening], None] = unwatched,
    ) -> RolloutStatus:
        """Go on with a rollout: one that was paused or halted, or whose driver is gone; who drives it now is relieved.

        Args:
            model: Name of the model.
            channel: The channel.
            max_failures: From here on so many may fail, a number or a share such as ``5%``; as before when left out.
            max_vetoes: From here on so many may report it as bad.
            watch: Is told what happens.

        Raises:
            NotFound: There was no rollout.
            MisuseError: It is over, or an argument cannot be.
            HostFault, PublisherBusy: The road stayed away, or another publisher did not end: call again.
        """
        self._must_sign()
        check_vetoes(max_vetoes or 0)
        desk = self._desk(model, channel)
        self._change(
            model, channel, Step.DRIVEN, {Phase.RUNNING, Phase.PAUSED, Phase.HALTED}, "", driver=desk.driver,
            max_failures=None if max_failures is None else Amount.parse(str(max_failures)), max_vetoes=max_vetoes,
        )
        return self._drive(desk, watch)

    def abort(self, model: str, *, channel: str = "production", why: str = "", keeps: bool = False) -> RolloutStatus:
        """End a rollout for good; the channel goes back to what it ran before, unless ``keeps`` leaves who has the release with it.

        Raises:
            NotFound: There was no rollout.
            MisuseError: It is over.
            HostFault: The road broke; call again.
        """
        if not keeps:
            self._must_sign()
        may = {Phase.RUNNING, Phase.PAUSED, Phase.HALTED, Phase.ABORTED}   # who was killed before it went back calls again
        rollout = self._change(model, channel, Step.ABORTED, may, why)
        went_back = None if keeps else self._go_back(model, rollout, why or "the rollout was aborted")
        return replace(self.status(model, channel=channel), went_back=went_back)

    def _drive(self, desk: Desk, watch: Callable[[Happening], None]) -> RolloutStatus:
        rollout = desk.look()
        minutes = minutes_to_read(rollout.begun.at_ms, now_ms())
        tally = _tally(desk.model, rollout)
        source = LastingReports(
            lambda since: self._road.reports(since_minutes=since), minutes, clock=time.monotonic, rest=time.sleep
        )
        with closing(source):
            ended = Driver(desk, source, tally, watch, lambda: self._heard(desk.model, desk.channel)).run()
        status = status_of(desk.model, ended, tally)
        if ended.phase is Phase.HALTED and ended.plan.rolls_back and ended.driver == desk.driver and ended.left_by is None:
            status = replace(status, went_back=patiently(lambda: self._go_back(desk.model, ended, ended.why), desk.rest))
        return status

    def _go_back(self, model: str, rollout: Rollout, why: str) -> Publication | None:
        assert self._key is not None
        operator = Operator(self._road, order_key=self._key, busy_seconds=self._sessions.busy_seconds, on_busy=self._sessions.on_busy)
        begun = rollout.begun
        return operator.leave_rollout(model, begun.sequence, channel=begun.channel, reason=shortened(why, 500))

    def _change(self, model: str, channel: str, step: Step, may: set[Phase], why: str, **fields: Any) -> Rollout:
        """Note a step of somebody who need not be the driver; returns how the rollout stood before."""
        def act(session: PublisherRoad, catalog: Catalog) -> Rollout:
            """Look, then note."""
            rollout = catalog.rollouts.last(channel)
            if rollout is None:
                raise NotFound(f"No release of {model} was ever rolled out gradually in {channel}.")
            is_left = rollout.left_by is not None and (step is not Step.ABORTED or rollout.phase is Phase.ABORTED)
            if rollout.phase not in may or is_left:
                since = "" if rollout.left_by is None else f", and order {rollout.left_by} was given to the channel since"
                raise MisuseError(
                    f"The rollout of {rollout.begun.version} in {channel} is {rollout.phase}{since}.",
                    hint="See: modelcast rollout status, modelcast history.",
                )
            by = fields.pop("driver", None) or driver_name()
            session.register.append(Stepped(channel, rollout.begun.sequence, step, now_ms(), by, None, why, **fields).to_bytes())
            return rollout

        return self._sessions.act(check_name("model", model), check_name("channel", channel), act)

    def _heard(self, model: str, channel: str) -> set[str]:
        """Return the instances of a channel that reported lately and did not stop."""
        tally = Tally(check_name("model", model), check_name("channel", channel), "", 0)
        for body in reports_of(self._road, HEARD_MINUTES):
            tally.add(body)
        return tally.known

    def _desk(self, model: str, channel: str) -> Desk:
        return Desk(
            self._road, self._sessions, self._key, check_name("model", model), check_name("channel", channel),
        )

    def _must_sign(self) -> None:
        if self._key is None:
            raise MisuseError(
                "Orders are signed, and no key was given.",
                hint="Give it with --key or MODELCAST_ORDER_KEY; in Python: Rollouts(url, order_key=...).",
            )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a rollout was asked for."""

    version: str
    plan: RolloutPlan
    from_channel: str | None
    require_verdicts: float | None
    again: bool


def _tally(model: str, rollout: Rollout) -> Tally:
    last = max(rollout.sent.values(), key=lambda sent: sent.sequence, default=None)
    return Tally(model, rollout.begun.channel, rollout.begun.release, rollout.begun.sequence, None if last is None else last.order)
