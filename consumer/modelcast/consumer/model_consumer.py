"""The consumer that an application embeds: start, read ``active``, ask for the status, stop.

Decides defaults and refuses what cannot work. Importing it starts nothing; ``start`` returns at once. Imports the other
modules of this room, and those that bring libraries with them (signatures, schemas) when the first consumer is built: an application
that only imports the class, as every command and test of it does, waits for none of them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Self, TypeVar

from modelcast.consumer.active import ActiveModel, Slot
from modelcast.consumer.policy import Dependencies, Loading, Policy, Timing
from modelcast.consumer.probation import Probation, Watch
from modelcast.consumer.status import Status, served
from modelcast.shared.errors import ForkedProcess, HostFault, MisuseError, NotReady
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.names import BUILT_IN_FORMATS, VersionRange, check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from modelcast.consumer.loaders import Loader
    from modelcast.consumer.member import Member
    from modelcast.consumer.probing import Validator
    from modelcast.consumer.tallies import Tallies
    from modelcast.consumer.trial import Attempt
    from modelcast.shared.road import Road
    from modelcast.shared.signing import KeyRing, TrustedKey

V = TypeVar("V", bound="Validator")
W = TypeVar("W", bound="Callable[[Attempt], None]")


class ModelConsumer:
    """Keeps one model of an application up to date.

    Args:
        url: Where orders come from: ``amqp://user:password@host:5672/vhost``, ``file:///srv/models``, or a road of your own.
        model: Name of the model.
        channel: Name of the channel.
        trust: Public keys: paths of PEM files or of key rings (``.toml``), or keys. Only what they signed is ever loaded.
        store: Folder of this instance, on a local disk; all processes of the instance use it, no other instance does.
        accept: Versions that the application was written for, such as ``>=2,<3``.
        instance: Id of this instance; made up once and kept in the store when left out.
        formats: Formats that are allowed.
        loaders: The application's own loaders by name: each takes the folder of the artifact's files.
        dependencies: How like the training host's libraries this host's must be: ``exact``, ``minor``, ``installed``, ``ignore``.
        max_artifact_bytes: Largest artifact that is taken.
        timing: Time limits and pauses.
        queue_type: ``classic``, or ``quorum`` on a cluster.
        loading: How a model is loaded beside serving threads.
        probation: What a model must prove after its promotion, counted by ``record``; None is nothing.
        fallback: Where chunks are fetched that the first road has dropped or cannot give: ``https://models.example`` or
            ``file:///srv/models``.

    Raises:
        InvalidName, InvalidVersion, MissingPath, InvalidKey, MisuseError: An argument cannot work.
    """

    def __init__(
        self, url: str | Road, *, model: str, trust: Iterable[str | Path | TrustedKey], store: str | Path,
        channel: str = "production", accept: str = "*", instance: str | None = None, formats: Iterable[str] = BUILT_IN_FORMATS,
        loaders: Mapping[str, Loader] | None = None, dependencies: str = "minor",
        max_artifact_bytes: int = DEFAULT_LIMITS.artifact_bytes, timing: Timing | None = None, queue_type: str = "classic",
        loading: Loading | None = None, fallback: str | Road | None = None, probation: Probation | None = None,
    ) -> None:
        check_name("model", model)
        check_name("channel", channel)
        if instance is not None:
            check_name("instance", instance)
        if dependencies not in set(Dependencies):
            raise MisuseError(f"{dependencies!r} is no rule for dependencies.", hint=f"Use one of {', '.join(Dependencies)}.")
        policy = Policy(VersionRange(accept), tuple(formats), Dependencies(dependencies), max_artifact_bytes)
        from modelcast.consumer.fallback import as_fallback  # noqa: PLC0415 - likewise
        from modelcast.consumer.member import Member  # noqa: PLC0415 - see above, at the top
        from modelcast.consumer.parts import Blueprint  # noqa: PLC0415 - likewise
        from modelcast.shared.roads import as_road  # noqa: PLC0415 - likewise

        ring = _key_ring(trust)
        self._validators: list[Validator] = []
        self._watch = None if probation is None else Watch(probation)
        loading = loading or Loading()
        self._slot, self._lock = Slot(loading.keeps), Lock()
        self._blueprint = Blueprint(
            as_road(url, queue_type=queue_type), model, channel, instance, Path(store), policy, timing or Timing(), ring,
            dict(loaders or {}), self._validators, self._slot, loading,
            None if fallback is None else as_fallback(as_road(fallback)),
        )
        self._join: Callable[[], Member] = partial(Member, self._blueprint)
        self._running: Member | None = None

    def validator(self, check: V) -> V:
        """Add a validator (also as a decorator): it takes candidate and manifest, and refuses by raising or returning False."""
        self._validators.append(check)
        return check

    def on_attempt(self, watcher: W) -> W:
        """Have a function called with each attempt at an update that ended (also as a decorator), in the receiver's process.

        It is called in the thread that loads models, after the verdict: it may take its time, and what it raises is logged only.
        """
        self._blueprint.watchers.append(watcher)
        return watcher

    def start(self) -> None:
        """Start in the background; returns at once. A second call does nothing.

        The last good release of the store is served first, without a broker. Of several processes with one store, the first
        receives and the others follow it; when it ends another one takes its place.

        Raises:
            StoreInUse: An instance with another id uses the store.
            StorageFault: The store cannot be written.
            ForkedProcess: It was started before a fork and this is the child.
        """
        with self._lock:
            if self._running is not None:
                if self._running.runtime.forked:
                    raise _forked()
                return
            self._running = self._join()
            self._running.runtime.start()

    def stop(self, timeout_seconds: float = 10.0) -> bool:
        """Stop; from any thread, any number of times. The model in service stays readable.

        Args:
            timeout_seconds: Longest wait; a model that is being loaded cannot be interrupted.

        Returns:
            Whether everything ended in time.
        """
        with self._lock:
            running, self._running = self._running, None
        if running is None:
            return True
        return running.runtime.stop(timeout_seconds)

    def report_bad(self, reason: str = "", *, version: str | None = None) -> bool:
        """Take the model in service out of it: it passed every check and then failed at its work. Any thread may call it, at any time.

        The model before takes its place: at once where it is kept at hand (``Loading.keep_previous``), otherwise when it was
        loaded. The release is remembered as bad, also after a restart, and reported as rejected with ``reported-bad``; a new order
        for it is tried again. All processes that share the store leave it, within a second or two, whichever of them reports it.

        Args:
            reason: Why, in the application's words; people read it in ``modelcast why``.
            version: What was found to be bad. When another version is in service by now nothing happens.

        Returns:
            Whether another model is in service already; False when it has to be loaded first, or there is none to go back to.

        Raises:
            NotReady: Nothing is in service, or the consumer is not started.
            StorageFault: This process follows another one of this host, and may not write the store to tell it.
        """
        active, running = self.active, self._running
        if running is None:
            raise NotReady("The consumer is not started.", hint="Call start() first.")
        if version is not None and version != active.version:
            return True
        return running.report_bad(active, reason)

    def record(self, *, ok: bool, active: ActiveModel | None = None) -> None:
        """Count a request that a model answered or failed, for its probation; without a ``probation`` nothing is counted.

        When too many fail the model is taken out of service as by ``report_bad``. Costs a comparison once the probation is over.
        Each process counts its own requests.

        Args:
            ok: Whether the request went well.
            active: What answered it; what is in service now when left out.
        """
        watch, answered = self._watch, active or self._slot.active
        if watch is None or answered is None:
            return
        reason = watch.record(answered, ok=ok)
        running = self._running
        if reason is not None and running is not None:
            with suppress(HostFault):   # a request must not fail for it; the log says so
                running.report_bad(answered, reason)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def active(self) -> ActiveModel:
        """The model in service: an immutable value, read without waiting. Hold it for the length of a request.

        Raises:
            NotReady: There is none yet.
        """
        active = self._slot.active
        if active is None:
            raise NotReady(
                "No model is in service yet.", hint="Call wait_until_ready() after start(); status() says what it waits for."
            )
        return active

    def wait_until_ready(self, timeout_seconds: float | None = None) -> ActiveModel:
        """Wait until a model is in service.

        Raises:
            NotReady: There was none in time; the message says what the consumer was doing.
            ForkedProcess: It was started before a fork and this is the child.
        """
        running = self._running
        if running is not None and running.runtime.forked:
            raise _forked()
        if not self._slot.filled.wait(timeout_seconds):
            raise NotReady(
                f"No model was in service within {timeout_seconds:g} s: {self.status().detail}",
                hint="Was a release published to this channel that this application accepts? status() says what was refused.",
            )
        return self.active

    @property
    def tallies(self) -> Tallies:
        """What was counted since it was built, for metrics (``modelcast.consumer.metrics``): read it, never write."""
        return self._blueprint.tallies

    def status(self) -> Status:
        """Return the state at this moment; never waits."""
        running, told, active = self._running, self._blueprint, self._slot.active
        if running is not None:
            return running.status()
        return Status(
            live=False, ready=active is not None, fresh=False, state="stopped", detail="The consumer is not started.",
            instance=told.instance or "", model=told.model, channel=told.channel, **served(active),
        )


def _key_ring(trust: str | Path | TrustedKey | Iterable[str | Path | TrustedKey]) -> KeyRing:
    from modelcast.shared.keyfiles import load_key_ring  # noqa: PLC0415 - see above, at the top
    from modelcast.shared.signing import TrustedKey  # noqa: PLC0415 - likewise

    ring = load_key_ring([trust] if isinstance(trust, str | Path | TrustedKey) else trust)
    if not ring.keys:
        raise MisuseError("No key is trusted, so nothing could ever be loaded.", hint='trust=["keys/training.pub"]')
    return ring


def _forked() -> ForkedProcess:
    return ForkedProcess(
        "This consumer was started before a fork; its threads do not exist in this process, so it cannot follow new releases.",
        hint="Start it after the fork (gunicorn: in post_fork or post_worker_init).",
        facts={"pid": os.getpid()},
    )
