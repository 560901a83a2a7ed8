"""Pruning a shared directory: which releases of a model go, and taking them out so that nothing that is left depends on them.

Decides what is kept: the newest releases, what each channel was ordered to run last and before that, and what any instance said
last that it runs. Works under the publisher's lock. First the register forgets which chunks are there, then the orders go, then the
chunks: killed in between, what is left is too much and never too little. Imports the catalog, the depot and the wire values.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from modelcast.publisher.catalog import Catalog, KnownRelease, Released
from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.index import EntryKind
from modelcast.shared.depot.layout import REPORTS, ModelPlaces
from modelcast.shared.depot.reports import ReportReader
from modelcast.shared.digest import DIGEST_BYTES
from modelcast.shared.errors import MisuseError, NotFound, PublisherBusy, SenderFault
from modelcast.shared.limits import DEFAULT_LIMITS
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


def reasons_to_keep(
    releases: Sequence[str], orders: Mapping[str, Sequence[str]], running: Mapping[str, str], keep: int
) -> dict[str, list[str]]:
    """Return why each release is kept, by its id; the others go.

    Args:
        releases: Ids, oldest first.
        orders: For each channel the ids that were ordered, oldest first.
        running: For each instance the id that it said last that it runs.
        keep: How many of the newest are kept.
    """
    found: dict[str, list[str]] = {}
    newest_first = list(dict.fromkeys(reversed(releases)))
    for release in newest_first[:keep]:
        found.setdefault(release, []).append(f"one of the newest {keep}")
    for channel, ordered in sorted(orders.items()):
        for which, release in zip(("current", "previous"), dict.fromkeys(reversed(ordered)), strict=False):
            found.setdefault(release, []).append(f"{which} in {channel}")
    for instance, release in sorted(running.items()):
        found.setdefault(release, []).append(f"run by {instance}")
    return found


class Pruning:
    """One model of a depot, looked at under the publisher's lock.

    Args:
        depot: The depot, entered.
        model: Name of the model.
    """

    def __init__(self, depot: Depot, model: str) -> None:
        self._depot, self._model = depot, model
        self._register = depot.register(model)
        self._orders = {channel: depot.orders(model, channel) for channel in depot.channels(model)}

    @cached_property
    def _records(self) -> dict[int, KnownRelease]:
        """The register's releases that were not pruned before, by the number of their record."""
        found: dict[int, KnownRelease] = {}
        for number in self._register.numbers():
            record = self._register.read(number)
            releases = Catalog([record] if record is not None else []).releases
            if releases and not releases[0].is_pruned:
                found[number] = releases[0]
        return found

    @cached_property
    def _ordered(self) -> dict[str, dict[int, str]]:
        """For each channel the ordered release by the number of the order."""
        return {
            channel: {number: release for number in log.numbers() if (release := _release_of(log.read(number))) is not None}
            for channel, log in self._orders.items()
        }

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
        orders = {channel: list(ordered.values()) for channel, ordered in self._ordered.items()}
        reasons = reasons_to_keep(releases, orders, self._running(), keep)
        kept = self._kept_digests(reasons)
        if not tries:
            self._forget(reasons, kept)
        count, size = self._depot.shelf(self._model).remove_but(kept, tries=tries)
        fates = {known.release: _fate(known, reasons) for known in self._records.values()}   # one that was sent twice has two records
        return Pruned(self._model, tuple(fates.values()), count, size)

    def _kept_digests(self, reasons: Mapping[str, object]) -> set[bytes]:
        """Return the digests that kept releases need, and those of an attempt that may still go on."""
        kept = {
            chunk.digest for known in self._records.values() if known.release in reasons for chunk in known.manifest.artifact.chunks()
        }
        index = self._depot.index(self._model)
        index.open()
        try:
            return kept | {entry.digest for entry in index.unsynced if entry.kind is EntryKind.CHUNK}
        finally:
            index.close()

    def _forget(self, reasons: Mapping[str, object], kept: set[bytes]) -> None:
        for number, known in self._records.items():
            if known.release not in reasons:
                self._register.replace(number, _without(known, kept).to_bytes())
        for channel, ordered in self._ordered.items():
            for number, release in ordered.items():
                if release not in reasons:
                    self._orders[channel].remove(number)


def _fate(known: KnownRelease, reasons: Mapping[str, Sequence[str]]) -> Fate:
    return Fate(known.manifest.version, known.release, known.manifest.artifact.size, tuple(reasons.get(known.release, ())))


def _release_of(body: bytes | None) -> str | None:
    """Return the release that an order message names, or None; the signature is the instances' business."""
    try:
        envelope = Envelope.from_bytes(OrderMessage.from_bytes(body or b"").order, what="order")
        order = Order.from_bytes(envelope.payload, what="order", formats=ORDER_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes)
    except SenderFault:
        return None
    return order.release.hex()


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
        PublisherBusy: Somebody publishes one of them.
        HostFault: The disk failed; call again.
    """
    if keep < 1:
        raise MisuseError(f"{keep} releases cannot be kept.", hint="Keep 1 or more.")
    depot.enter()
    wanted, there = list(models), [model for model in depot.models() if depot.has_model(model)]
    for model in wanted:
        if model not in there:
            raise NotFound(f"Nobody has published {model} in {depot.root}.", hint=f"There are: {', '.join(there) or 'none'}.")
    return [_prune_one(depot, model, keep, tries=tries) for model in wanted or there]


def _prune_one(depot: Depot, model: str, keep: int, *, tries: bool) -> Pruned:
    lock = depot.lock(model)
    if not lock.take():
        raise PublisherBusy(f"Somebody is publishing {model} right now.", hint="Wait until it is done.")
    try:
        if not tries:
            depot.sweep(ModelPlaces(model).incoming)
        return Pruning(depot, model).run(keep, tries=tries)
    finally:
        lock.release()
