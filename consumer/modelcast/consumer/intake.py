"""Bringing a release's bytes onto this disk: ahead of its order where it was announced, then what is still missing.

Decides what is reused, when the fallback is asked, and in which folder a release is put together. Used by the worker only. Imports
ahead, assembly, fallback, receiving and the store.
"""

from collections.abc import Callable
from contextlib import closing, suppress

from modelcast.consumer.ahead import Ahead, layout_of, receive_ahead
from modelcast.consumer.assembly import Assembly
from modelcast.consumer.fallback import Mend
from modelcast.consumer.receiving import Fetch, OpenSource, fetch
from modelcast.consumer.sharing import Borrowing
from modelcast.consumer.store import Store
from modelcast.consumer.trial import Trial
from modelcast.consumer.trust import TrustedOrder
from modelcast.shared.errors import HostFault, SenderFault, StorageFault
from modelcast.shared.manifest import Manifest

PATIENCE = 6
"""Silence of a stream that is being written is waited out so many times as long as that of one that is complete."""


class Intake:
    """Receives releases into a store.

    Args:
        store: Where to.
        open_source: Opens the chunk stream.
        idle_seconds: Silence after which the stream counts as read to its end.
        manifest_of: Returns the manifest of a release of the store, if it is still trusted.
        mend: Fetches from another road what the stream has dropped, or None.
        borrowing: Shares blocks with the road's own files, or None.
    """

    def __init__(
        self, store: Store, open_source: OpenSource, idle_seconds: float, manifest_of: Callable[[str], Manifest],
        *, mend: Mend | None = None, borrowing: Borrowing | None = None,
    ) -> None:
        self._store, self._open_source, self._idle_seconds, self._manifest_of = store, open_source, idle_seconds, manifest_of
        self._mend, self._borrowing = mend, borrowing
        self._ahead: Ahead | None = None
        self._spoiled: set[str] = set()

    def receive_ahead(self, ahead: Ahead) -> None:
        """Receive what was announced; raises like ``ahead.receive_ahead``, and what was received stays."""
        if self._borrowing is not None and self._borrowing.is_possible(self._store):
            return
        before, self._ahead = self._ahead, ahead
        folder = self._store.incoming(ahead.layout)
        self._store.clear_incoming({ahead.layout})
        if before is not None and before.layout == ahead.layout and folder.is_dir():
            if before is not ahead:   # announced again: go on where it was
                ahead.digests, ahead.is_whole, ahead.sources = before.digests, before.is_whole, before.sources
                ahead.fetched_bytes, ahead.wire_bytes, ahead.next_offset = before.fetched_bytes, before.wire_bytes, before.next_offset
        else:
            ahead.begin_again(is_whole=not folder.is_dir())
        with closing(Assembly(self._store, ahead.layout, ahead.announced.manifest.artifact, ahead.check)) as assembly:
            assembly.reserve(ahead.check)
            receive_ahead(assembly, self._open_source, ahead, PATIENCE * self._idle_seconds)

    @property
    def ahead(self) -> set[str]:
        """The name under which something is being received ahead, if it is."""
        return set() if self._ahead is None else {self._ahead.layout}

    def receive(self, trial: Trial) -> None:
        """Receive a release: what this host has first, then the stream."""
        trusted = trial.trusted
        trial.check()
        if self._store.has(trusted.release):
            return   # what is being received ahead stays: it was gone back to this one meanwhile
        ahead = self._take_over(trusted)
        if trusted.release in self._spoiled:
            self._throw_away(trusted.release)
        artifact = trusted.manifest.artifact
        with trial.timed("received"), closing(Assembly(self._store, trusted.release, artifact, trial.check)) as assembly:
            try:
                self._find(assembly, ahead, trial)
                what = Fetch(trusted.order, trusted.release, self._idle_seconds, trial.check)
                if not assembly.progress.is_complete:
                    self._fetch(assembly, what)
                trial.check()
                self._sync(assembly)
            finally:
                trial.transfer = assembly.progress.transfer()

    def _find(self, assembly: Assembly, ahead: Ahead | None, trial: Trial) -> None:
        """Take up what is on this disk already: received ahead, left by an interrupted transfer, held by other releases."""
        if ahead is not None:
            assembly.progress.ahead_bytes, assembly.progress.wire_bytes = ahead.fetched_bytes, ahead.wire_bytes
            assembly.progress.sources |= ahead.sources
            assembly.adopt(ahead.digests, trial.check)
        if ahead is None or not ahead.is_whole:
            assembly.find_again(trial.check)
        for other in self._store.releases():
            with suppress(SenderFault, HostFault):   # its key is no longer trusted, or it cannot be read: nothing is taken
                assembly.reuse(self._store.folder(other), self._manifest_of(other).artifact, trial.check)
        if self._borrowing is not None:
            self._borrowing.share(assembly, trial.check)

    def _fetch(self, assembly: Assembly, what: Fetch) -> None:
        """Read the stream; what it does not give, for whichever reason, is asked of the fallback."""
        try:
            fetch(assembly, self._open_source, what)
        except StorageFault:
            raise   # our own disk: no other road helps it
        except (SenderFault, HostFault) as fault:
            if self._mend is None:
                raise
            problem = self._mend(assembly, what.stopped)
            if not assembly.progress.is_complete:
                fault.facts["fallback"] = problem
                raise

    def _take_over(self, trusted: TrustedOrder) -> Ahead | None:
        """Give what was received ahead the name of its release; returns what this process knows of it."""
        ahead, self._ahead = self._ahead, None
        layout, folder = layout_of(trusted.manifest), self._store.incoming(trusted.release)
        received = self._store.incoming(layout)
        knows = ahead is not None and ahead.layout == layout
        if received.is_dir() and (knows or not folder.is_dir()):
            self._store.fs.remove_tree(folder)
            self._store.fs.rename(received, folder)
        else:
            knows = False
        self._store.clear_incoming({trusted.release})
        return ahead if knows else None

    def _sync(self, assembly: Assembly) -> None:
        """Make a complete assembly durable, or throw it away.

        After a failed sync the kernel may have dropped the pages, and would call the next sync of the same files a success.
        """
        try:
            assembly.sync()
        except HostFault:
            self._spoiled.add(assembly.release)   # such a disk may not let it go now: the next try begins with that
            self._throw_away(assembly.release)
            raise

    def _throw_away(self, release: str) -> None:
        self._store.fs.remove_tree(self._store.incoming(release))
        self._spoiled.discard(release)
