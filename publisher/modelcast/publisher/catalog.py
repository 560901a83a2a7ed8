"""What a model's register says: which versions exist, what was begun, which order came last. Pure: records in, answers out.

Decides the records. A record is written *before* the step that it protects (``begun`` before the first chunk, ``ordering``
before the order), so that whoever comes after a crash knows what may have happened. Imports manifest, packing and errors.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from modelcast.shared.digest import DIGEST_BYTES
from modelcast.shared.errors import SenderFault, Withdrawn
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.manifest import MANIFEST_FORMATS, Manifest, release_id
from modelcast.shared.packing import pack, unpack
from modelcast.shared.signing import Envelope

RECORD_FORMAT = 1
RECORD_BYTES = DEFAULT_LIMITS.order_bytes + DEFAULT_LIMITS.chunk_count * DIGEST_BYTES
"""Largest record: the manifest of the largest release, and the digests of all its chunks once more."""
END_OF_NUMBERS = 2**63
"""Offsets, times, sizes and sequences are below: what a signed 64-bit number holds, and an order lets through."""


@dataclass(frozen=True, slots=True)
class Begun:
    """Somebody began to send a version's chunks from ``offset`` on."""

    version: str
    offset: int

    def to_bytes(self) -> bytes:
        """Return the record's bytes."""
        return _record("begun", version=self.version, offset=self.offset)


@dataclass(frozen=True, slots=True)
class Released:
    """A release whose chunks are all in the stream.

    Attributes:
        manifest: The signed envelope of its manifest.
        chunks_offset: Where its own new chunks begin, or None when it brought none.
        oldest_offset: Where the oldest chunk it needs lies, or None when its chunks were pruned or lost.
        new_digests: Digests of the chunks that it brought into the stream, 32 bytes each, joined.
        new_bytes: Bytes of those chunks.
    """

    manifest: bytes
    chunks_offset: int | None
    oldest_offset: int | None
    new_digests: bytes
    new_bytes: int

    def to_bytes(self) -> bytes:
        """Return the record's bytes."""
        return _record(
            "released", manifest=self.manifest, chunks_offset=self.chunks_offset, oldest_offset=self.oldest_offset,
            new_digests=self.new_digests, new_bytes=self.new_bytes,
        )


@dataclass(frozen=True, slots=True)
class Ordered:
    """An order for a channel.

    Attributes:
        channel: Name of the channel.
        sequence: Its sequence.
        release: Release id.
        issued_ms: When it was issued, milliseconds since 1970 UTC.
        order: Its identity once it was sent, and None while it is about to be.
        kind: ``promotion`` or ``rollback``.
        key: Id of the key that signed it, or None where that was not recorded.
        took_ms: How long its sender took from the call to all chunks confirmed (``published``) and to the order confirmed
            (``confirmed``), in milliseconds by its own clock, as far as it was recorded.
    """

    channel: str
    sequence: int
    release: str
    issued_ms: int
    order: str | None = None
    kind: str = "promotion"
    key: str | None = None
    took_ms: Mapping[str, float] = field(default_factory=dict, hash=False)

    def to_bytes(self) -> bytes:
        """Return the record's bytes."""
        return _record(
            "ordered" if self.order else "ordering", channel=self.channel, sequence=self.sequence, release=self.release,
            issued_ms=self.issued_ms, order=self.order, kind=self.kind, key=self.key, took_ms=dict(self.took_ms),
        )


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A release that a channel shall not run again: it was rolled back.

    Attributes:
        channel: Name of the channel.
        release: Release id.
        version: Its version.
        at_ms: When, milliseconds since 1970 UTC.
        reason: Why, in somebody's words.
    """

    channel: str
    release: str
    version: str
    at_ms: int
    reason: str = ""

    def to_bytes(self) -> bytes:
        """Return the record's bytes."""
        return _record(
            "withdrawn", channel=self.channel, release=self.release, version=self.version, at_ms=self.at_ms, reason=self.reason
        )


@dataclass(frozen=True, slots=True)
class KnownRelease:
    """A release found in the register; its manifest is parsed but its signature was not looked at."""

    record: Released
    manifest: Manifest
    release: str

    @property
    def is_pruned(self) -> bool:
        """Whether its chunks are not all on the road any more; the version is remembered, so that it never means other bytes."""
        return self.record.oldest_offset is None


def _record(kind: str, /, **fields: object) -> bytes:
    return pack({"record": kind, "format": RECORD_FORMAT, **fields})


class Catalog:
    """The register, read once.

    Args:
        records: All records, oldest first. What is no record is counted in ``foreign`` and passed over.
    """

    def __init__(self, records: Iterable[bytes]) -> None:
        self.releases: list[KnownRelease] = []
        self.foreign = 0
        self._begun: dict[str, Begun] = {}
        self._last_offset = -1
        self._sequences: dict[str, int] = {}
        self.orders: dict[str, list[Ordered]] = {}
        self._withdrawn: dict[tuple[str, str], Withdrawal] = {}
        for body in records:
            try:
                self._add(unpack(body, what="record", max_bytes=RECORD_BYTES))
            except (SenderFault, KeyError, ValueError):
                self.foreign += 1

    def _add(self, record: Mapping[str, Any]) -> None:
        kind = record.get("record")
        if kind == "begun":
            self.begin(Begun(_of(str, record["version"]), _number(record["offset"])))
        elif kind == "released":
            self._add_released(record)
        elif kind in {"ordering", "ordered"}:
            self._add_ordered(record)
        elif kind == "withdrawn":
            withdrawal = Withdrawal(
                _of(str, record["channel"]), _of(str, record["release"]), _of(str, record["version"]), _number(record["at_ms"]),
                _of(str, record["reason"]),
            )
            self._withdrawn[withdrawal.channel, withdrawal.release] = withdrawal
        else:
            self.foreign += 1

    def begin(self, begun: Begun) -> None:
        """Take note of a record that was read or is being written.

        Offsets only rise: one below those before says that the chunk stream was deleted and made anew, and what lay in it is gone.
        """
        if begun.offset <= self._last_offset:
            self._forget_chunks()
        self._last_offset = begun.offset
        self._begun[begun.version] = begun

    def _forget_chunks(self) -> None:
        self._begun.clear()
        self.releases = [
            replace(known, record=replace(known.record, chunks_offset=None, oldest_offset=None)) for known in self.releases
        ]

    def _add_ordered(self, record: Mapping[str, Any]) -> None:
        order = Ordered(
            _of(str, record["channel"]), _number(record["sequence"], below=END_OF_NUMBERS - 1),   # the next one must exist
            _of(str, record["release"]), _number(record["issued_ms"]),
            None if record["order"] is None else _of(str, record["order"]),
            _of(str, record.get("kind", "promotion")), None if record.get("key") is None else _of(str, record["key"]),
            _durations(record.get("took_ms")),
        )
        self._sequences[order.channel] = max(order.sequence, self._sequences.get(order.channel, 0))
        orders = self.orders.setdefault(order.channel, [])
        if orders and orders[-1].order is None and orders[-1].sequence == order.sequence:
            orders.pop()   # what was about to be sent was sent
        orders.append(order)
        self._withdrawn.pop((order.channel, order.release), None)   # somebody ordered it all the same

    def _add_released(self, record: Mapping[str, Any]) -> None:
        envelope, new_digests = _of(bytes, record["manifest"]), _of(bytes, record["new_digests"])
        if len(new_digests) % DIGEST_BYTES:
            raise ValueError("digests that are cut off")
        payload = Envelope.from_bytes(envelope, what="manifest").payload
        manifest = Manifest.from_bytes(
            payload, what="manifest", formats=MANIFEST_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes
        )
        released = Released(
            envelope, _number_or_none(record["chunks_offset"]), _number_or_none(record["oldest_offset"]), new_digests,
            _number(record["new_bytes"]),
        )
        self.releases.append(KnownRelease(released, manifest, release_id(payload)))
        self._begun.pop(manifest.version, None)

    def release(self, version: str) -> KnownRelease | None:
        """Return the latest record of ``version``, or None."""
        return next((known for known in reversed(self.releases) if known.manifest.version == version), None)

    def begun(self, version: str) -> Begun | None:
        """Return the unfinished attempt to send a version, or None; its bytes may have been others."""
        return self._begun.get(version)

    def next_sequence(self, channel: str, now_ms: int) -> int:
        """Return the number of the channel's next order.

        The first order of a register is numbered by the clock, in seconds since 1970: after a broker has lost all its data,
        the numbers must still be above those that instances have seen, or they would pass every new order over.
        """
        last = self._sequences.get(channel)
        return max(1, now_ms // 1000) if last is None else last + 1

    def last_order(self, channel: str) -> Ordered | None:
        """Return the channel's last order if it is known to have been sent, or None."""
        orders = self.orders.get(channel)
        return orders[-1] if orders and orders[-1].order is not None else None

    def by_id(self, release: str) -> KnownRelease | None:
        """Return the latest record of a release id, or None."""
        return next((known for known in reversed(self.releases) if known.release == release), None)

    def withdrawn(self, channel: str, release: str) -> Withdrawal | None:
        """Return the withdrawal of a release in a channel that still holds, or None."""
        return self._withdrawn.get((channel, release))

    def refuse_withdrawn(self, channel: str, release: str, version: str) -> None:
        """Raise ``Withdrawn`` when a release was rolled back in a channel."""
        withdrawal = self.withdrawn(channel, release)
        if withdrawal is not None:
            why = f" ({withdrawal.reason})" if withdrawal.reason else ""
            raise Withdrawn(
                f"{version} was rolled back in {channel}{why}.",
                hint="Release a higher version; or order it all the same with --again (publish: --resend).",
                facts={"channel": channel, "release": release, "withdrawn_ms": withdrawal.at_ms, "reason": withdrawal.reason},
            )


Kind = TypeVar("Kind", bytes, str)


def _of(kind: type[Kind], value: object) -> Kind:
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} where {kind.__name__} belongs")   # noqa: TRY004 - of a record, not of a call
    return value


def _number(value: object, *, below: int = END_OF_NUMBERS) -> int:
    if type(value) is not int or not 0 <= value < below:   # True is an int, and no offset
        raise ValueError("no number that can be")
    return value


def _durations(value: object) -> dict[str, float]:
    """Return what is known of durations; for people, so that what is none costs no record."""
    fields: dict[object, object] = value if isinstance(value, dict) else {}
    found = {stage: fields.get(stage) for stage in ("published", "confirmed")}
    return {stage: float(took) for stage, took in found.items() if isinstance(took, int | float) and 0 <= took < END_OF_NUMBERS}


def _number_or_none(value: object) -> int | None:
    return None if value is None else _number(value)
