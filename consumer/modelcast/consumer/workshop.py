"""The steps of a trial, done one at a time by the worker: receive, verify, load, probe, promote.

Decides how each step is done, never which one comes next (``lifecycle``). Every failure leaves as a SenderFault or a
HostFault. Starts no thread. Imports the store, loaders, probing and receiving.
"""

import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from modelcast.consumer.active import ActiveModel, Slot
from modelcast.consumer.ahead import Ahead
from modelcast.consumer.collecting import sparing
from modelcast.consumer.fallback import Mend
from modelcast.consumer.headroom import Headroom, MemoryCheck, read_headroom
from modelcast.consumer.intake import Intake
from modelcast.consumer.journal import Journal, Rejection
from modelcast.consumer.keeper import Keeper
from modelcast.consumer.loaders import Loader
from modelcast.consumer.pointer import KeptBookmark
from modelcast.consumer.policy import Loading, Timing
from modelcast.consumer.probing import Bounded, Validator, check_samples, run_validators
from modelcast.consumer.receiving import OpenSource
from modelcast.consumer.rules import Standing
from modelcast.consumer.sharing import Borrowing
from modelcast.consumer.store import Store, misfit_in
from modelcast.consumer.succession import pointer_after
from modelcast.consumer.trial import Trial
from modelcast.consumer.trust import TrustedOrder, reader_of
from modelcast.shared.errors import HostFault, SenderFault, StorageFault
from modelcast.shared.failpoints import Point, reach
from modelcast.shared.fs import host_fault
from modelcast.shared.limits import shortened
from modelcast.shared.manifest import Artifact, Manifest
from modelcast.shared.reasons import Reason
from modelcast.shared.signing import KeyRing

MAX_TRIES = 3
"""Loads of one candidate that took the process with them before it is refused."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What the steps work with.

    Attributes:
        loaders: Loaders by name.
        validators: The application's validators.
        timing: Time limits.
        ring: Trusted keys.
        open_source: Opens the chunk stream.
        bounded: Runs a function with a time limit.
        loading: How gently a model is loaded.
        headroom: Reads how much memory is left.
        mend: Fetches from another road what the stream has dropped, or None.
        borrowing: Shares blocks with the road's own files, or None.
    """

    loaders: Mapping[str, Callable[[], Loader]]
    validators: Sequence[Validator]
    timing: Timing
    ring: KeyRing
    open_source: OpenSource
    bounded: Bounded
    loading: Loading = field(default_factory=Loading)
    headroom: Callable[[], list[Headroom]] = read_headroom
    mend: Mend | None = None
    borrowing: Borrowing | None = None


class Workshop(Keeper):
    """Does the steps. Used by the worker thread only.

    Args:
        store: Where releases are kept.
        journal: Where reports and rejections are kept.
        slot: The active slot.
        tools: Everything else.
    """

    def __init__(self, store: Store, journal: Journal, slot: Slot, tools: Tools) -> None:
        super().__init__(store, slot, tools.ring, self._load)
        self.journal, self._tools = journal, tools
        self._intake = Intake(
            store, tools.open_source, tools.timing.chunk_idle_seconds, self._manifest, mend=tools.mend, borrowing=tools.borrowing
        )
        self._memory = MemoryCheck(tools.loading, tools.headroom)

    def receive(self, trial: Trial) -> None:
        """Bring the artifact's bytes onto this disk."""
        trusted, artifact = trial.trusted, trial.trusted.manifest.artifact
        self._memory.before_bytes(artifact)
        if self._store.has(trusted.release) and self._at_hand(trusted) is None:
            self._memory.before_load(trusted.id, artifact)   # verifying reads all of it, at each new try
        self._intake.receive(trial)

    def has_room(self, artifact: Artifact) -> None:
        """Look whether an artifact would fit into this host's memory and onto the store's disk; nothing is taken.

        Raises:
            SenderFault: It never will.
            HostFault: Not now.
        """
        self._memory.before_bytes(artifact)
        free = shutil.disk_usage(self._store.root).free
        if artifact.size > free:
            raise StorageFault(
                f"The store's disk has {free} bytes free, and the artifact has {artifact.size}.", hint="Free space on this disk.",
                facts={"free_bytes": free, "artifact_bytes": artifact.size},
            )

    def receive_ahead(self, ahead: Ahead) -> None:
        """Bring onto this disk what was announced, while it is still being sent."""
        self._memory.before_bytes(ahead.announced.manifest.artifact)   # its order will be refused for it
        self._intake.receive_ahead(ahead)

    def verify(self, trial: Trial) -> None:
        """Compare what is on disk with the manifest and give the release its name.

        A new release was put together by this process from bytes whose digests were right, so its files are not read again:
        the page cache would give back what was written, whatever the disk made of it. A release that lay here is read.
        """
        trusted = trial.trusted
        is_new = not self._store.has(trusted.release)
        folder = self._store.incoming(trusted.release) / "files" if is_new else self._store.folder(trusted.release)
        if self._at_hand(trusted) is not None:
            return   # this process verified and loaded it, and has held it since
        artifact = trusted.manifest.artifact
        with trial.timed("verified"):
            damage = misfit_in(folder, artifact) if is_new else self._damage(trusted.release, artifact)
            if damage is not None:
                self._store.fs.remove_tree(folder.parent)
                raise StorageFault(f"What was written to {folder} reads back otherwise: {damage.text}.", hint="Check this disk.")
            (self._store.commit if is_new else self._store.sign_again)(trusted.release, trusted.envelope)
            self._note_read(trusted.release)

    def load(self, trial: Trial) -> None:
        """Load the model into the shadow slot."""
        trusted = trial.trusted
        with trial.timed("loaded"):
            at_hand = self._at_hand(trusted)
            if at_hand is not None:
                trial.model = at_hand.model
                return
            self._memory.before_load(trusted.id, trusted.manifest.artifact)
            tries = self.journal.begin_try(trusted.id)
            with self._ending_the_try_on_error():
                if tries > MAX_TRIES:
                    raise SenderFault(
                        Reason.LOAD_FAILED, f"The process ended {MAX_TRIES} times while this model was loaded or tried.",
                        facts={"tries": tries - 1},
                    )
                trial.model = self._load(trusted.manifest, self._store.folder(trusted.release))
                trial.check()

    def _at_hand(self, trusted: TrustedOrder) -> ActiveModel | None:
        """Return the model of a release that left service and was kept, or that a rollback need not leave at all; or None.

        A promotion of what is in service loads it again: somebody insists, perhaps because of what lies on this disk.
        """
        kept = (self._slot.previous, self._slot.active if trusted.is_rollback else None)
        return next((each for each in kept if each and each.release == trusted.release and self._store.has(each.release)), None)

    @contextmanager
    def _ending_the_try_on_error(self) -> Generator[None]:
        """Note that the process lives after an error: a fault of the host must not count as a crash."""
        try:
            yield
        except Exception:
            self.journal.end_try()
            raise

    def _load(self, manifest: Manifest, folder: Path) -> Any:
        seconds = self._tools.timing.load_seconds
        try:
            loader = self._tools.loaders[manifest.artifact.loader]()
            with sparing(self._tools.loading.collector):
                return self._tools.bounded(partial(loader, folder), seconds, "loading")
        except (SenderFault, HostFault):
            raise
        except Exception as error:
            if (fault := host_fault("loading the model", error)) is not None:
                raise fault from error
            raise SenderFault(
                Reason.LOAD_FAILED, f"Loading raised {type(error).__name__}: {shortened(error, 300)}.",
                facts={"error": type(error).__name__, "message": shortened(error), "loader": manifest.artifact.loader},
            ) from error

    def probe(self, trial: Trial) -> None:
        """Let the candidate prove itself: sample answers, then the application's validators."""
        manifest, seconds = trial.trusted.manifest, self._tools.timing.probe_seconds
        folder = self._store.folder(trial.trusted.release)
        with trial.timed("probed"):
            with self._ending_the_try_on_error():
                self._tools.bounded(partial(check_samples, trial.model, manifest, folder), seconds, "the samples")
                run_validators(trial.model, manifest, self._tools.validators, self._tools.bounded, seconds)
            self.journal.end_try()

    def promote(self, trial: Trial) -> Standing:
        """Write the pointer (the commit point), then swap; the model before stays on disk as the previous one."""
        trusted, before = trial.trusted, self._store.pointer()
        with trial.timed("promoted"):
            kept = None if trial.bookmark is None else KeptBookmark(trial.bookmark, reader_of(self._tools.ring))
            pointer = pointer_after(trusted, before, floor_lifted=trial.floor_lifted, bookmark=kept)
            reach(Point.BEFORE_POINTER)
            self._store.point(pointer)
            reach(Point.AFTER_POINTER)
            self._slot.swap(
                trial.model, trusted.manifest, trusted.release, sequence=trusted.order.sequence, order=trusted.id
            )
            reach(Point.AFTER_SWAP)
        trial.model = None
        with suppress(HostFault):   # what cannot be removed now is removed after the next promotion
            self._store.collect({trusted.release, pointer.previous or trusted.release, *self._intake.ahead})
        reach(Point.AFTER_COLLECT)
        return self.standing()

    def reject(self, trial: Trial | None, rejection: Rejection, report: bytes) -> str:
        """Remember a rejection and keep its report until it is confirmed; returns the report's name."""
        if trial is not None:
            trial.model = None
            self._throw_away(trial.trusted.release)
            reach(Point.AFTER_THROWN_AWAY)
        name = self.journal.add_report(report)   # first: a crash in between costs a second report, never the only one
        self.journal.remember(rejection)
        return name

    def _throw_away(self, release: str) -> None:
        """Remove a release that was refused, unless the pointer names it."""
        pointer = self._store.pointer()
        if pointer is None or release not in {pointer.release, pointer.previous}:
            with suppress(HostFault):   # what cannot be removed now is removed after the next promotion
                self._store.fs.remove_tree(self._store.incoming(release))
                self._store.remove(release)
