"""Pruning a shared directory: which releases of a model go, and taking them out so that nothing that is left depends on them.

Decides by ``keeping`` what stays, and refuses where anything that this depends on cannot be read. Works under the publisher's locks.
First the register forgets which chunks are there, then the orders go, then the chunks: killed in between, what is left is too much
and never too little. Imports the catalog, what is kept, the depot and the wire values.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from modelcast.publisher.catalog import Catalog, KnownRelease, Released
from modelcast.publisher.keeping import Promise, course_of, reasons_to_keep
from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.index import EntryKind
from modelcast.shared.depot.layout import REPORTS, ChannelPlaces, ModelPlaces
from modelcast.shared.depot.numbered import NumberedLog
from modelcast.shared.depot.reports import ReportReader
from modelcast.shared.digest import DIGEST_BYTES
from modelcast.shared.errors import DepotUnusable, MisuseError, NotFound, PublisherBusy, SenderFault
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.manifest import MANIFEST_FORMATS, Manifest, release_id
from modelcast.shared.order import ORDER_FORMATS, Order, OrderMessage
from modelcast.shared.report import Report
from modelcast.shared.signing import Envelope


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one release.

    Attributes:
        version: Its version.
        release: Its id.
        size: Bytes of its artifact.
        reasons: Why it is kept; empty when it goes.
    """

    version: str
    release: str
    size: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What pruning a model did, or would do.

    Attributes:
        model: Name of the model.
        fates: Its releases, oldest first; those that were pruned before are left out.
        removed_chunks: Chunks that went.
        freed_bytes: Bytes of their files.
    """

    model: str
    fates: tuple[Fate, ...]
    removed_chunks: int
    freed_bytes: int


class Pruning:
    """One model of a depot, looked at under the publisher's locks.

    Args:
        depot: The depot, entered.
        model: Name of the model.
    """

    def __init__(self, depot: Depot, model: str) -> None:
        self._depot, self._model = depot, model
        self._register = depot.register(model)
        self._orders = {channel: depot.orders(model, channel) for channel in depot.channels(model)}

    @cached_property
    def _released(self) -> dict[int, KnownRelease]:
        """The register's releases by the number of their record."""
        found: dict[int, KnownRelease] = {}
        for number in self._register.numbers():
            catalog = Catalog([self._register.read(number) or b""])
            if catalog.foreign:
                raise _unreadable(self._register, number)
            if catalog.releases:
                found[number] = catalog.releases[0]
        return found

    @property
    def _records(self) -> dict[int, KnownRelease]:
        """Those that were not pruned before."""
        return {number: known for number, known in self._released.items() if not known.is_pruned}

    @cached_property
    def _ordered(self) -> dict[str, dict[int, Promise]]:
        """The orders of each channel by their number."""
        return {channel: {number: _order_in(log, number) for number in log.numbers()} for channel, log in self._orders.items()}

    def _running(self) -> dict[str, str]:
        reader = ReportReader(self._depot.disk, self._depot.root / REPORTS, None)
        found: dict[str, str] = {}
        while (body := reader.next()) is not None:
            try:
                report = Report.parse(body)
            except SenderFault:
                continue
            if report.model == self._model and report.active_release is not None:
                found[f"{report.instance} in {report.channel}"] = report.active_release
        return found

    def run(self, keep: int, *, tries: bool) -> Pruned:
        """Prune, or with ``tries`` say only what would be done."""
        releases = [known.release for known in self._records.values()]
        courses = {channel: course_of(list(ordered.values())) for channel, ordered in self._ordered.items()}
        reasons = reasons_to_keep(releases, courses, self._running(), keep)
        kept = self._kept_digests(reasons)
        fates = {known.release: _fate(known, reasons) for known in self._records.values()}   # one that was sent twice has two records
        if not tries:
            self._forget(reasons, kept)
        count, size = self._depot.shelf(self._model).remove_but(kept, tries=tries)
        return Pruned(self._model, tuple(fates.values()), count, size)

    def _kept_digests(self, reasons: Mapping[str, object]) -> set[bytes]:
        """Return the digests that kept releases need, and those of an attempt that may still go on."""
        manifests = {known.release: known.manifest for known in self._released.values()}
        manifests |= {promise.release: promise.manifest for ordered in self._ordered.values() for promise in ordered.values()}
        unknown = sorted(set(reasons) - set(manifests))
        if unknown:
            raise DepotUnusable(
                f"What the release {unknown[0]} of {self._model} consists of is not known, and an instance says that it runs it.",
                hint="Publish it again, or wait until the instance has run another one for 7 days. Nothing was removed.",
                facts={"releases": unknown},
            )
        kept = {chunk.digest for release in reasons for chunk in manifests[release].artifact.chunks()}
        index = self._depot.index(self._model)
        return kept | {entry.digest for entry in index.unfinished() if entry.kind is EntryKind.CHUNK}

    def _forget(self, reasons: Mapping[str, object], kept: set[bytes]) -> None:
        for number, known in self._records.items():
            if known.release not in reasons:
                self._register.replace(number, _without(known, kept).to_bytes())
        for channel, ordered in self._ordered.items():
            going = {number: promise for number, promise in ordered.items() if promise.release not in reasons}
            gone_back = max((promise.order.sequence for promise in going.values() if promise.is_rollback), default=0)
            for number, promise in ordered.items():
                # with a rollback goes all that it left: it would be the better one again
                if number in going or promise.order.sequence < gone_back:
                    self._orders[channel].remove(number)
            self._orders[channel].sync()   # no order may come back after its chunks went


def _unreadable(log: NumberedLog, number: int) -> DepotUnusable:
    path = log.path(number)
    return DepotUnusable(
        f"{path} is damaged, or of a newer modelcast: what it needs is not known, and nothing was removed.",
        hint="Upgrade modelcast here; if it is damaged, restore it or take it away, then publish with --resend what it was about.",
        facts={"path": str(path)},
    )


def _order_in(log: NumberedLog, number: int) -> Promise:
    """Return what an order message says; one that cannot be read protects something that is not known."""
    try:
        message = OrderMessage.from_bytes(log.read(number) or b"")
        ordered, payload = (
            Envelope.from_bytes(body, what=what).payload for body, what in ((message.order, "order"), (message.manifest, "manifest"))
        )
        order = Order.from_bytes(ordered, what="order", formats=ORDER_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes)
        manifest = Manifest.from_bytes(payload, what="manifest", formats=MANIFEST_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes)
    except SenderFault as fault:
        raise _unreadable(log, number) from fault
    if release_id(payload) != order.release.hex():
        raise _unreadable(log, number)
    return Promise(order, manifest)


def _fate(known: KnownRelease, reasons: Mapping[str, Sequence[str]]) -> Fate:
    return Fate(known.manifest.version, known.release, known.manifest.artifact.size, tuple(reasons.get(known.release, ())))


def _without(known: KnownRelease, kept: set[bytes]) -> Released:
    """Return the record of a release that is not whole any more: what it means stays known, and which of its chunks others need."""
    digests = known.record.new_digests
    each = [digests[start : start + DIGEST_BYTES] for start in range(0, len(digests), DIGEST_BYTES)]
    left = [identity for identity in each if identity in kept]
    sizes = {chunk.digest: chunk.size for chunk in known.manifest.artifact.chunks()}
    return replace(
        known.record, oldest_offset=None, chunks_offset=known.record.chunks_offset if left else None, new_digests=b"".join(left),
        new_bytes=sum(sizes.get(identity, 0) for identity in left),
    )


def prune(depot: Depot, models: Iterable[str], keep: int, *, tries: bool = False) -> list[Pruned]:
    """Prune models of a depot.

    Args:
        depot: The depot.
        models: Their names; none is all.
        keep: How many of the newest releases of each are kept in any case, 1 or more.
        tries: Only say what would be done.

    Raises:
        MisuseError: ``keep`` is less than 1.
        NotFound: A model is not there.
        DepotUnusable: What decides about a model cannot be read; nothing of it was removed.
        PublisherBusy: Somebody publishes one of them; all others were pruned.
        HostFault: The disk failed; call again.
    """
    if keep < 1:
        raise MisuseError(f"{keep} releases cannot be kept.", hint="Keep 1 or more.")
    depot.enter(founds=False)
    wanted, there = list(models), [model for model in depot.models() if depot.has_model(model)]
    for model in wanted:
        if model not in there:
            raise NotFound(f"Nobody has published {model} in {depot.root}.", hint=f"There are: {', '.join(there) or 'none'}.")
    done: list[Pruned] = []
    busy: list[str] = []
    for model in wanted or there:
        pruned = _prune_one(depot, model, keep, tries=tries)
        if pruned is None:
            busy.append(model)
        else:
            done.append(pruned)
    if busy:
        names = ", ".join(pruned.model for pruned in done) or "none"
        raise PublisherBusy(
            f"Somebody is publishing {', '.join(busy)} right now; of the others were dealt with: {names}.",
            hint="Wait until it is done, then prune again.", facts={"busy": busy, "done": [pruned.model for pruned in done]},
        )
    return done


def _prune_one(depot: Depot, model: str, keep: int, *, tries: bool) -> Pruned | None:
    """Prune a model; returns None while somebody publishes it."""
    places = ModelPlaces(model)
    depot.refuse_links(places.incoming, places.chunks, places.register, places.channels)
    depot.refuse_links(*(ChannelPlaces(model, channel).orders for channel in depot.channels(model)))
    locks = depot.locks(model)
    if not locks.take():
        return None
    try:
        if not tries:
            depot.sweep(places.incoming)
        return Pruning(depot, model).run(keep, tries=tries)
    finally:
        locks.release()
