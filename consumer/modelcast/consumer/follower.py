"""A follower: serves what the receiver of its store promoted, switches together with it, and takes its place when it is gone.

Decides how often it looks. Reads the store and writes nothing but complaints. ``following`` says what to do next; slow steps are
jobs for the worker. Starts no thread. Imports the store, the workshop, complaining and following.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event
from typing import Any

from modelcast.consumer.active import ActiveModel, Slot
from modelcast.consumer.companions import BEAT_SECONDS
from modelcast.consumer.complaining import Complaining
from modelcast.consumer.following import Following, Seen, Step
from modelcast.consumer.notice import Notice
from modelcast.consumer.policy import Timing, pause_seconds
from modelcast.consumer.probing import check_samples, run_validators
from modelcast.consumer.reporting import now_ms
from modelcast.consumer.store import NOTICE, POINTER, Store, damage_in
from modelcast.consumer.trust import open_manifest
from modelcast.consumer.verdicts import Submit
from modelcast.consumer.workshop import Workshop
from modelcast.shared.errors import HostFault, ModelcastError, StorageFault
from modelcast.shared.manifest import Manifest

LOOK_SECONDS = 0.05
"""Between two looks at the store, of two stat calls each: half of the 100 ms within which all processes switch."""
CLOSE_LOOK_SECONDS = 0.01
"""The same while a candidate is named: the switch is near."""
TAKE_OVER_SECONDS = 1.0
"""Between two attempts to take the receiver's place."""
ERROR_PAUSE_SECONDS = 1.0
SILENT_SECONDS = 75.0 + BEAT_SECONDS
"""A receiver may be busy connecting for 75 s; after this it counts as stuck."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A release that may serve.

    Attributes:
        release: Its id.
        manifest: Its manifest.
        model: The loaded model.
    """

    release: str
    manifest: Manifest
    model: Any


class ReadingWorkshop(Workshop):
    """The steps of a follower: of what a workshop can do, only what leaves the store as it is."""

    def prepare(self, release: str, *, is_start: bool) -> Prepared:
        """Verify and load a release, and let it prove itself in this process; every byte before anything is unpickled.

        Args:
            release: Its id.
            is_start: Whether nothing is in service, so that what the receiver proved is better than nothing.

        Raises:
            SenderFault: The release is not trusted, cannot be loaded or does not prove itself in this process.
            StorageFault: It is damaged or gone.
        """
        if not self._store.has(release):
            raise StorageFault(f"release {release[:12]} is not in the store")
        manifest, identity = open_manifest(self._store.envelope(release), self._tools.ring)
        if identity != release:
            raise StorageFault(f"release {release[:12]} has the manifest of {identity[:12]}")
        self._memory.before_load(release, manifest.artifact)
        folder, tools = self._store.folder(release), self._tools
        damage = damage_in(folder, manifest.artifact)
        if damage is not None:
            raise StorageFault(f"release {release[:12]} is damaged: {damage.text}")   # it is the receiver's to remove
        model = self._load(manifest, folder)
        if not is_start:
            tools.bounded(partial(check_samples, model, manifest, folder), tools.timing.probe_seconds, "the samples")
            run_validators(model, manifest, tools.validators, tools.bounded, tools.timing.probe_seconds)
        return Prepared(release, manifest, model)


@dataclass(slots=True)
class _Watched:
    """A file whose changes are noticed by two words of its inode."""

    path: str
    state: tuple[int, int] | None = None

    def has_changed(self) -> bool:
        """Whether it was replaced or touched since the last call."""
        try:
            facts = os.stat(self.path)
            found: tuple[int, int] | None = (facts.st_ino, facts.st_mtime_ns)
        except FileNotFoundError:
            found = None
        changed, self.state = found != self.state, found
        return changed


@dataclass(slots=True)
class Follower:
    """One process that follows.

    Args:
        store: The store, whose lock another process holds.
        slot: The active slot.
        workshop: Where slow steps are done.
        timing: Pauses.
        submit: Gives jobs to the worker.
        take_results: Hands the worker's results to those who wait for them.
        take_over: Becomes the receiver if that place is free; returns whether it did.
        complaining: Tells the receiver of a release that is bad.
        log: Bound logger.
    """

    store: Store
    slot: Slot
    workshop: ReadingWorkshop
    timing: Timing
    submit: Submit
    take_results: Callable[[], None]
    take_over: Callable[[], bool]
    complaining: Complaining
    log: Any
    following: Following = field(default_factory=Following)
    seen: Seen = field(default_factory=Seen)
    notice: Notice | None = None
    last_contact: float | None = None
    last_contact_ms: int | None = None
    fault: str | None = None
    _shadow: Prepared | None = None
    _heard: float = 0.0
    _next_attempt: float = 0.0
    _reads_anyway: bool = True
    _bell: Event = field(default_factory=Event)
    _pointer_file: _Watched = field(init=False)
    _notice_file: _Watched = field(init=False)

    def __post_init__(self) -> None:
        self._pointer_file, self._notice_file = _Watched(str(self.store.root / POINTER)), _Watched(str(self.store.root / NOTICE))
        self._heard = time.monotonic()
        self.following.serving = self.slot.active.release if self.slot.active else None

    @property
    def hears_receiver(self) -> bool:
        """Whether the receiver showed lately that it turns."""
        return self.notice is not None and time.monotonic() - self._heard < SILENT_SECONDS

    def turn(self) -> None:
        """Look, do what is due, then wait a moment. Never raises."""
        self._bell.clear()
        wait_seconds = LOOK_SECONDS
        try:
            self.take_results()
            self._look()
            self._step()
            self.complaining.turn()
            if self._attempt():
                return
            wait_seconds = LOOK_SECONDS if self.seen.candidate is None else CLOSE_LOOK_SECONDS
        except HostFault as error:
            self.fault, wait_seconds = str(error), ERROR_PAUSE_SECONDS
        except Exception as error:
            self.log.exception("unexpected error in a follower; it goes on")
            self.fault, wait_seconds = f"Following the store failed: {error}", ERROR_PAUSE_SECONDS
        self._bell.wait(wait_seconds)

    def report_bad(self, active: ActiveModel, reason: str) -> bool:
        """Go back to the model before and have the receiver take the release out for all; any thread may call it."""
        is_done = self.complaining.report_bad(active, reason, self.seen)
        self.ring()
        return is_done

    def ring(self) -> None:
        """End the wait of the current turn; any thread may."""
        self._bell.set()

    def end(self) -> None:
        """Drop what is prepared; called once, by the I/O thread when it ends."""
        self.take_results()
        self._shadow = None

    def _attempt(self) -> bool:
        """Try to take the receiver's place: at once when it left in order, otherwise now and then."""
        now = time.monotonic()
        if self.following.in_hand is not None or (now < self._next_attempt and self._notice_file.state is not None):
            return False   # not while the worker is busy: a receiver needs it
        if now >= self._next_attempt:
            self._next_attempt, self._reads_anyway = now + TAKE_OVER_SECONDS, True
        is_receiver = self.take_over()
        if is_receiver:
            self._let_go()
        return is_receiver

    def _look(self) -> None:
        anyway, self._reads_anyway = self._reads_anyway, False   # the two words of another file may be the same by chance
        notice_changed, pointer_changed = self._notice_file.has_changed(), self._pointer_file.has_changed()
        if notice_changed:
            self._heard = time.monotonic()
        if notice_changed or pointer_changed or anyway:
            self.notice = self.store.notice()
            pointer, candidate = self.store.pointer(), self.notice.candidate if self.notice else None
            self.seen = (
                replace(self.seen, candidate=candidate) if pointer is None
                else Seen(pointer.release, pointer.previous, candidate, pointer.sequence)
            )
            if self.notice is not None and self.notice.connected_since_ms is not None and self.hears_receiver:
                self.last_contact, self.last_contact_ms = time.monotonic(), now_ms()

    def _step(self) -> None:
        if self.following.is_ready_for(self.seen.candidate):
            self.store.followers.release()
        else:
            self.store.followers.take(shared=True)   # in vain only in the moment in which the receiver looks; then the next time
        if self.following.in_hand is None:   # the application may have gone back to the model before at any moment
            self.following.serving = self.slot.active.release if self.slot.active else None
        due = self.following.next(replace(self.seen, is_bad=self.complaining.is_about(self.seen)), time.monotonic())
        self.fault = self.following.fault(self.seen) or self.complaining.fault
        if due is None:
            return
        step, release = due
        if step is Step.DROP:
            self._let_go()
            return
        self.following.in_hand = release
        if step is Step.PREPARE:
            job = partial(self.workshop.prepare, release, is_start=self.slot.active is None)
            self.submit(job, partial(self._prepared, release))
        else:
            prepared, self._shadow, self.following.shadow = self._shadow, None, None
            assert prepared is not None
            self.submit(partial(self.slot.swap, prepared.model, prepared.manifest, prepared.release), self._served)

    def _prepared(self, release: str, result: object, error: BaseException | None) -> None:
        if isinstance(result, Prepared):
            self._let_go()
            self._shadow = result
            self.following.prepared(release)
            return
        self._reads_anyway = True   # it may be gone because the pointer names another one by now
        pause = pause_seconds(self.timing, self.following.failures_of(release) + 1)
        self.following.failed(release, str(error) or type(error).__name__, time.monotonic() + pause)
        unexpected = None if isinstance(error, ModelcastError) else error
        self.log.warning(
            "a release cannot serve in this process; it keeps its model", release=release[:12], fault=str(error), exc_info=unexpected
        )

    def _let_go(self) -> None:
        """Have the worker free what is prepared, in pieces: freeing a large model holds up every thread."""
        prepared, self._shadow, self.following.shadow = self._shadow, None, None
        if prepared is not None:
            self.submit(partial(self.slot.departed.keep, prepared), lambda _result, _error: None)

    def _served(self, result: object, error: BaseException | None) -> None:
        if not isinstance(result, ActiveModel):
            self.following.in_hand = None
            raise HostFault("Swapping failed.") from error
        self.following.served(result.release)
        self.log.info("followed", version=result.version, pid=self.notice.pid if self.notice else None)
