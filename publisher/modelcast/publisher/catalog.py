"""What a model's register says: which versions exist, what was begun, which order came last. Pure: records in, answers out.

Decides the records, but those of rollouts. A record is written *before* the step that it protects (``begun`` before the first
chunk, ``ordering`` before the order), so that whoever comes after a crash knows what may have happened. Imports manifest, packing,
errors and the records of rollouts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from modelcast.publisher.recording import END_OF_NUMBERS, durations, number, number_or_none, of, record, text_or_none
from modelcast.publisher.retirement import Retired
from modelcast.publisher.rollout.records import RolloutBook, Sent
from modelcast.shared.digest import DIGEST_BYTES
from modelcast.shared.errors import SenderFault, Withdrawn
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.manifest import MANIFEST_FORMATS, Manifest, release_id
from modelcast.shared.packing import unpack
from modelcast.shared.signing import Envelope
from modelcast.shared.turns import TURNS

RECORD_BYTES = DEFAULT_LIMITS.order_bytes + DEFAULT_LIMITS.chunk_count * DIGEST_BYTES
"""Largest record: the manifest of the largest release, and the digests of all its chunks once more."""


@dataclass(frozen=True, slots=True)
class Begun:
    """Somebody began to send a version's chunks from ``offset`` on."""

    version: str
    offset: int

    def to_bytes(self) -> bytes:
        """Return the record's bytes."""
        return record("begun", version=self.version, offset=self.offset)


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
        return record(
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
        up_to: It is for the instances up to this turn; None is for all.
        rollout: Number of its rollout, or None.
        wave: Which wave of it, counted from 0, or None.
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
    up_to: int | None = None
    rollout: int | None = None
    wave: int | None = None
    took_ms: Mapping[str, float] = field(default_factory=dict, hash=False)

    def to_bytes(self) -> bytes:
        """Return the record's bytes."""
        return record(
            "ordered" if self.order else "ordering", channel=self.channel, sequence=self.sequence, release=self.release,
            issued_ms=self.issued_ms, order=self.order, kind=self.kind, key=self.key, up_to=self.up_to, rollout=self.rollout,
            wave=self.wave, took_ms=dict(self.took_ms),
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
        return record(
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
        self._retired: dict[tuple[str, str], Retired] = {}
        self.rollouts = RolloutBook()
        for body in records:
            try:
                self._add(unpack(body, what="record", max_bytes=RECORD_BYTES))
            except (SenderFault, KeyError, ValueError):
                self.foreign += 1

    def _add(self, fields: Mapping[str, Any]) -> None:
        kind = fields.get("record")
        if kind == "begun":
            self.begin(Begun(of(str, fields["version"]), number(fields["offset"])))
        elif kind == "released":
            self._add_released(fields)
        elif kind in {"ordering", "ordered"}:
            self._add_ordered(fields)
        elif kind == "withdrawn":
            withdrawal = Withdrawal(
                of(str, fields["channel"]), of(str, fields["release"]), of(str, fields["version"]), number(fields["at_ms"]),
                of(str, fields["reason"]),
            )
            self._withdrawn[withdrawal.channel, withdrawal.release] = withdrawal
        elif kind == "retired":
            retired = Retired.parse(fields)
            self._retired[retired.channel, retired.instance] = retired
        elif not self.rollouts.add(fields):
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

    def _add_ordered(self, fields: Mapping[str, Any]) -> None:
        order = Ordered(
            of(str, fields["channel"]), number(fields["sequence"], below=END_OF_NUMBERS - 1),   # the next one must exist
            of(str, fields["release"]), number(fields["issued_ms"]),
            text_or_none(fields["order"]), of(str, fields.get("kind", "promotion")), text_or_none(fields.get("key")),
            number_or_none(fields.get("up_to"), below=TURNS), number_or_none(fields.get("rollout")),
            number_or_none(fields.get("wave")), durations(fields.get("took_ms")),
        )
        sent = Sent(order.sequence, order.up_to, order.issued_ms, order.order)
        self.rollouts.ordered(order.channel, sent, order.rollout, order.wave, is_known=order.order is not None)
        self._sequences[order.channel] = max(order.sequence, self._sequences.get(order.channel, 0))
        orders = self.orders.setdefault(order.channel, [])
        if orders and orders[-1].order is None and orders[-1].sequence == order.sequence:
            orders.pop()   # what was about to be sent was sent
        orders.append(order)
        self._withdrawn.pop((order.channel, order.release), None)   # somebody ordered it all the same

    def _add_released(self, fields: Mapping[str, Any]) -> None:
        envelope, new_digests = of(bytes, fields["manifest"]), of(bytes, fields["new_digests"])
        if len(new_digests) % DIGEST_BYTES:
            raise ValueError("digests that are cut off")
        payload = Envelope.from_bytes(envelope, what="manifest").payload
        manifest = Manifest.from_bytes(
            payload, what="manifest", formats=MANIFEST_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes
        )
        released = Released(
            envelope, number_or_none(fields["chunks_offset"]), number_or_none(fields["oldest_offset"]), new_digests,
            number(fields["new_bytes"]),
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

        It is never below the clock, in seconds since 1970: after a broker has lost all its data, or its machine lost power and with it
        the end of the register, the numbers must still be above those that instances have seen. They would pass a new order over, or
        take it for another one with the same number.
        """
        return max(1, now_ms // 1000, self._sequences.get(channel, 0) + 1)

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

    def withdrawals(self, channel: str) -> dict[str, Withdrawal]:
        """Return the withdrawals of a channel that still hold, by release."""
        return {release: found for (of_channel, release), found in self._withdrawn.items() if of_channel == channel}

    def retired(self, channel: str) -> dict[str, Retired]:
        """Return the instances of a channel of which somebody said that they do not come back, by their ids."""
        return {instance: retired for (of_channel, instance), retired in self._retired.items() if of_channel == channel}

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

