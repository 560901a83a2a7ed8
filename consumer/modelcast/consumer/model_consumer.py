"""The consumer that an application embeds: start, read ``active``, ask for the status, stop.

Decides defaults and puts the parts together. Importing it starts nothing; ``start`` returns at once. Imports the other
modules of this room.
"""

import os
import platform
import secrets
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog

from modelcast.consumer.active import ActiveModel, Slot
from modelcast.consumer.courier import Courier
from modelcast.consumer.fs import Fs
from modelcast.consumer.journal import Journal
from modelcast.consumer.loaders import Loader, available_loaders
from modelcast.consumer.overview import overview
from modelcast.consumer.policy import Dependencies, Policy, Timing
from modelcast.consumer.probing import Validator
from modelcast.consumer.reporting import Reporter
from modelcast.consumer.rules import Host
from modelcast.consumer.runtime import Runtime, bounded
from modelcast.consumer.status import Status
from modelcast.consumer.store import Store
from modelcast.consumer.updater import Setting, Updater
from modelcast.consumer.verdicts import Verdicts
from modelcast.consumer.workshop import Tools, Workshop
from modelcast.shared.errors import ForkedProcess, HostFault, MisuseError, NotReady
from modelcast.shared.keyfiles import load_key_ring
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.manifest import BUILT_IN_FORMATS
from modelcast.shared.names import VersionRange, check_name, name_from_host
from modelcast.shared.road import Road, Target
from modelcast.shared.roads import as_road
from modelcast.shared.signing import TrustedKey

V = TypeVar("V", bound=Validator)
INSTANCE_FILE = "instance"


@dataclass(slots=True)
class _Running:
    """What exists between start and stop."""

    store: Store
    courier: Courier
    updater: Updater
    verdicts: Verdicts
    runtime: Runtime


class ModelConsumer:
    """Keeps one model of an application up to date.

    Args:
        url: Where orders come from: ``amqp://user:password@host:5672/vhost``, or a road of your own.
        model: Name of the model.
        channel: Name of the channel.
        trust: Public keys: paths of PEM files or of key rings (``.toml``), or keys. Only what they signed is ever loaded.
        store: Folder of this instance; not shared with another running instance.
        accept: Versions that the application was written for, such as ``>=2,<3``.
        instance: Id of this instance; made up once and kept in the store when left out.
        formats: Formats that are allowed.
        loaders: The application's own loaders by name: each takes the folder of the artifact's files.
        dependencies: How like the training host's libraries this host's must be: ``exact``, ``minor``, ``installed``, ``ignore``.
        max_artifact_bytes: Largest artifact that is taken.
        timing: Time limits and pauses.
        queue_type: ``classic``, or ``quorum`` on a cluster.

    Raises:
        InvalidName, InvalidVersion, MissingPath, InvalidKey, MisuseError: An argument cannot work.
    """

    def __init__(
        self, url: str | Road, *, model: str, trust: Iterable[str | Path | TrustedKey], store: str | Path,
        channel: str = "production", accept: str = "*", instance: str | None = None, formats: Iterable[str] = BUILT_IN_FORMATS,
        loaders: Mapping[str, Loader] | None = None, dependencies: str = "minor",
        max_artifact_bytes: int = DEFAULT_LIMITS.artifact_bytes, timing: Timing | None = None, queue_type: str = "classic",
    ) -> None:
        check_name("model", model)
        check_name("channel", channel)
        self._target_names = (model, channel, check_name("instance", instance) if instance is not None else None)
        if dependencies not in set(Dependencies):
            raise MisuseError(f"{dependencies!r} is no rule for dependencies.", hint=f"Use one of {', '.join(Dependencies)}.")
        self._policy = Policy(VersionRange(accept), tuple(formats), Dependencies(dependencies), max_artifact_bytes)
        self._ring = load_key_ring([trust] if isinstance(trust, str | Path | TrustedKey) else trust)
        if not self._ring.keys:
            raise MisuseError("No key is trusted, so nothing could ever be loaded.", hint='trust=["keys/training.pub"]')
        self._road: Road = as_road(url, queue_type=queue_type)
        self._store_root, self._loaders, self._timing = Path(store), dict(loaders or {}), timing or Timing()
        self._validators: list[Validator] = []
        self._slot, self._lock = Slot(), Lock()
        self._running: _Running | None = None

    def validator(self, check: V) -> V:
        """Add a validator (also as a decorator): it takes candidate and manifest, and refuses by raising or returning False."""
        self._validators.append(check)
        return check

    def start(self) -> None:
        """Start in the background; returns at once. A second call does nothing.

        The last good release of the store is served first, without a broker.

        Raises:
            StoreInUse: Another process uses the store.
            StorageFault: The store cannot be written.
            ForkedProcess: It was started before a fork and this is the child.
        """
        with self._lock:
            if self._running is not None:
                if self._running.runtime.forked:
                    raise _forked()
                return
            running = self._build()
            self._running = running
            running.runtime.submit(lambda: self._restore(running), lambda result, error: self._restored(running, result, error))
            running.runtime.start()

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

    def status(self) -> Status:
        """Return the state at this moment; never waits."""
        running, (model, channel, instance) = self._running, self._target_names
        if running is None:
            active = self._slot.active
            return Status(
                live=False, ready=active is not None, fresh=False, state="stopped", detail="The consumer is not started.",
                instance=instance or "", model=model, channel=channel, version=active.version if active else None,
                release=active.release if active else None,
            )
        return overview(running.courier, running.updater, running.verdicts, running.runtime, self._timing)

    def _build(self) -> _Running:
        model, channel, instance = self._target_names
        fs = Fs()
        store = Store(self._store_root / model / channel, fs)
        store.open()
        try:
            target = Target(model, channel, instance or _kept_instance(self._store_root, fs))
            self._target_names = (model, channel, target.instance)
            return self._assemble(store, target)
        except BaseException:
            store.close()
            raise

    def _assemble(self, store: Store, target: Target) -> _Running:
        log = structlog.get_logger("modelcast.consumer").bind(
            instance=target.instance, model=target.model, channel=target.channel
        )
        loaders = available_loaders(self._loaders)
        tools = Tools(
            loaders, self._validators, self._timing, self._ring, lambda offset: self._road.chunks(target.model, offset), bounded
        )
        host = Host(platform.python_version(), sys.implementation.name, _installed, frozenset(loaders))
        journal = Journal(store.root / "journal", store.fs)
        workshop = Workshop(store, journal, self._slot, tools)
        reporter = Reporter(target)
        runtime = Runtime(
            f"modelcast {target.model}", lambda: courier.turn(), lambda: courier.ring(),  # noqa: PLW0108 - made below
            lambda: courier.end(), lambda: _leave(store, journal),  # noqa: PLW0108
        )
        verdicts = Verdicts(reporter, workshop, self._slot, runtime.submit, log)
        setting = Setting(target, self._policy, self._timing, self._ring, host)
        updater = Updater(setting, workshop, verdicts, runtime.submit, log)
        courier = Courier(self._road, target, updater, verdicts, reporter, self._timing, runtime.take_results, log)
        return _Running(store, courier, updater, verdicts, runtime)

    def _restore(self, running: _Running) -> tuple[Any, ...]:
        """Run in the worker, as its first job."""
        workshop = running.updater.workshop
        problem = workshop.restore() if self._slot.active is None else None
        return problem, workshop.standing(), workshop.journal.rejections(), workshop.journal.reports()

    def _restored(self, running: _Running, result: Any, error: BaseException | None) -> None:
        """Run in the I/O thread."""
        if error is not None:
            running.courier.fault = f"The store could not be read: {error}"
            running.courier.log.error("the store could not be read", error=str(error))
            running.runtime.submit(
                lambda: self._restore_later(running), lambda again, failure: self._restored(running, again, failure)
            )
            return
        problem, standing, rejections, reports = result
        running.updater.remember(standing, rejections, reports)
        running.courier.restored, running.updater.fault = True, problem
        active = self._slot.active
        running.courier.log.info(
            "started", version=active.version if active else None, problem=problem, unsent_reports=len(reports)
        )

    def _restore_later(self, running: _Running) -> tuple[Any, ...]:
        running.runtime.rest(self._timing.retry_most_seconds)
        return self._restore(running)


def _leave(store: Store, journal: Journal) -> None:
    """Run by the last thread that ends: an end in order is no crash, and the next start may have the store."""
    with suppress(HostFault):
        journal.end_try()
    store.close()


def _forked() -> ForkedProcess:
    return ForkedProcess(
        "This consumer was started before a fork; its threads do not exist in this process, so it cannot follow new releases.",
        hint="Start it after the fork (gunicorn: in post_fork or post_worker_init), with a store of its own.",
        facts={"pid": os.getpid()},
    )


def _kept_instance(root: Path, fs: Fs) -> str:
    """Return the instance id kept in the store; made up at the first start."""
    path = root / INSTANCE_FILE
    if path.is_file():
        return check_name("instance", fs.read_whole(path, 1024).decode("ascii", "replace").strip())
    made_up = f"{name_from_host()}-{secrets.token_hex(3)}"
    fs.write_whole(path, made_up.encode("ascii"))
    return made_up


@cache
def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except (metadata.PackageNotFoundError, ValueError):   # ValueError: an empty name
        return None
