"""The steps of a trial, done one at a time by the worker: receive, verify, load, probe, promote; and the start from disk.

Decides how each step is done, never which one comes next (``lifecycle``). Every failure leaves as a SenderFault or a
HostFault. Starts no thread. Imports the store, loaders, probing and receiving.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from modelcast.consumer.active import Slot
from modelcast.consumer.ahead import Ahead
from modelcast.consumer.collecting import sparing
from modelcast.consumer.fallback import Mend
from modelcast.consumer.headroom import Headroom, MemoryCheck, read_headroom
from modelcast.consumer.intake import Intake
from modelcast.consumer.journal import Journal, Rejection
from modelcast.consumer.loaders import Loader
from modelcast.consumer.pointer import TRIES, KeptBookmark, Pointer
from modelcast.consumer.policy import Loading, Timing
from modelcast.consumer.probing import Bounded, Validator, check_samples, run_validators
from modelcast.consumer.receiving import OpenSource
from modelcast.consumer.rules import Standing
from modelcast.consumer.sharing import Borrowing
from modelcast.consumer.store import Store, damage_in, misfit_in
from modelcast.consumer.succession import pointer_after, standing_of
from modelcast.consumer.trial import Trial
from modelcast.consumer.trust import open_manifest, reader_of
from modelcast.shared.errors import HostFault, SenderFault, StorageFault
from modelcast.shared.failpoints import Point, reach
from modelcast.shared.fs import host_fault
from modelcast.shared.limits import shortened
from modelcast.shared.manifest import Manifest
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


class Workshop:
    """Does the steps. Used by the worker thread only.

    Args:
        store: Where releases are kept.
        journal: Where reports and rejections are kept.
        slot: The active slot.
        tools: Everything else.
    """

    def __init__(self, store: Store, journal: Journal, slot: Slot, tools: Tools) -> None:
        self._store, self.journal, self._slot, self._tools = store, journal, slot, tools
        self._intake = Intake(
            store, tools.open_source, tools.timing.chunk_idle_seconds, self._manifest, mend=tools.mend, borrowing=tools.borrowing
        )
        self._memory = MemoryCheck(tools.loading, tools.headroom)

    def receive(self, trial: Trial) -> None:
        """Bring the artifact's bytes onto this disk."""
        trusted, artifact = trial.trusted, trial.trusted.manifest.artifact
        self._memory.before_bytes(artifact)
        if self._store.has(trusted.release):
            self._memory.before_load(trusted.id, artifact)   # verifying reads all of it, at each new try
        self._intake.receive(trial)

    def receive_ahead(self, ahead: Ahead) -> None:
        """Bring onto this disk what was announced, while it is still being sent."""
        self._memory.before_bytes(ahead.announced.manifest.artifact)   # its order will be refused for it
        self._intake.receive_ahead(ahead)

    def _manifest(self, release: str) -> Manifest:
        return open_manifest(self._store.envelope(release), self._tools.ring)[0]

    def verify(self, trial: Trial) -> None:
        """Compare what is on disk with the manifest and give the release its name.

        A new release was put together by this process from bytes whose digests were right, so its files are not read again:
        the page cache would give back what was written, whatever the disk made of it. A release that lay here is read.
        """
        trusted = trial.trusted
        is_new = not self._store.has(trusted.release)
        folder = self._store.incoming(trusted.release) / "files" if is_new else self._store.folder(trusted.release)
        with trial.timed("verified"):
            damage = (misfit_in if is_new else damage_in)(folder, trusted.manifest.artifact)
            if damage is not None:
                self._store.fs.remove_tree(folder.parent)
                raise StorageFault(f"What was written to {folder} reads back otherwise: {damage.text}.", hint="Check this disk.")
            if is_new:
                self._store.commit(trusted.release, trusted.envelope)

    def load(self, trial: Trial) -> None:
        """Load the model into the shadow slot."""
        trusted = trial.trusted
        with trial.timed("loaded"):
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
            self._slot.swap(trial.model, trusted.manifest, trusted.release, sequence=trusted.order.sequence)
            reach(Point.AFTER_SWAP)
        trial.model = None
        with suppress(HostFault):   # what cannot be removed now is removed after the next promotion
            self._store.collect({trusted.release, pointer.previous or trusted.release})
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

    def standing(self) -> Standing:
        """Return what this instance runs and has run."""
        pointer, active = self._store.pointer(), self._slot.active
        identities: list[tuple[str, bytes]] = []
        for release in self._store.releases():
            with suppress(SenderFault, HostFault):   # its key is no longer trusted, or it cannot be read: it counts as unknown
                manifest = self._manifest(release)
                identities.append((manifest.version, manifest.artifact.identity))
        return standing_of(pointer, active.release if active else None, identities)

    def restore(self) -> str | None:
        """Load the last good release from disk into the slot.

        Returns:
            What was wrong with the newest one, in a sentence, or None when all was well.
        """
        pointer = self._store.pointer()
        release = None if pointer is None else pointer.release
        if pointer is None or release is None:
            return None
        if pointer.tries_left <= 0:
            bad = (*pointer.bad, release)[-16:]
            problem = f"release {release[:12]} ended the process {TRIES} times at its start"
            pointer = self._point_if_possible(_without_active(pointer, bad=bad))
            return self._fall_back(pointer, problem)
        reach(Point.BEFORE_RESTORE)
        self._point_if_possible(replace(pointer, tries_left=pointer.tries_left - 1))
        reach(Point.RESTORE_COUNTED)
        failure = self._load_from_disk(release, pointer.sequence)
        reach(Point.RESTORE_LOADED)
        if failure is not None and not self._store.has(release):   # it was damaged and is gone: the order may bring it again
            pointer = self._point_if_possible(_without_active(pointer, bad=pointer.bad))
            return self._fall_back(pointer, failure)
        self._point_if_possible(replace(pointer, tries_left=TRIES))   # the process lives, whatever the release did
        reach(Point.AFTER_RESTORE)
        if failure is not None and pointer.previous is not None:
            self._load_from_disk(pointer.previous)
        return failure

    def _point_if_possible(self, pointer: Pointer) -> Pointer:
        """Write the pointer; a disk that cannot be written must not keep a good model on it from being served."""
        try:
            return self._store.point(pointer)
        except HostFault:
            return pointer

    def _fall_back(self, pointer: Pointer, problem: str) -> str:
        also = None if pointer.release is None else self._load_from_disk(pointer.release)
        return problem if also is None else f"{problem}; and {also}"

    def _load_from_disk(self, release: str, sequence: int = 0) -> str | None:
        """Verify and load a stored release into the slot, in service by the order ``sequence``; returns what is wrong with it."""
        if not self._store.has(release):
            return f"release {release[:12]} is not in the store"
        try:
            manifest, identity = open_manifest(self._store.envelope(release), self._tools.ring)
            if identity != release:
                return f"release {release[:12]} has the manifest of {identity[:12]}"
            damage = damage_in(self._store.folder(release), manifest.artifact)
            if damage is not None:
                self._store.fs.remove_tree(self._store.folder(release).parent)
                return f"release {release[:12]} is damaged: {damage.text}"
            self._slot.swap(self._load(manifest, self._store.folder(release)), manifest, release, sequence=sequence)
        except (SenderFault, HostFault) as error:
            return f"release {release[:12]} cannot be loaded: {error}"
        return None


def _without_active(pointer: Pointer, *, bad: tuple[str, ...]) -> Pointer:
    """Go back to the previous release; the order of a lost one may be carried out again, that of a bad one may not."""
    return Pointer(
        0, pointer.previous, None, pointer.sequence, pointer.floor, pointer.floor_artifact, TRIES, bad,
        is_lost=pointer.release not in bad, bookmark=pointer.bookmark,
    )
