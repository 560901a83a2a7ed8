"""Carrying releases and orders from one road to another, with every signed byte as it was.

Decides what was carried already (by the register of the road that is carried to) and where a release's bytes are looked for. A
bridge needs no key: it signs nothing and believes nothing but digests; who may sign is for the instances to say. Imports the catalog,
the plan and the road's protocols.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

from modelcast.publisher.catalog import Begun, Catalog, Ordered, Released
from modelcast.publisher.hold import Hold
from modelcast.publisher.holding import has_lost, held, kept_from
from modelcast.publisher.plan import Plan
from modelcast.publisher.sessions import Sessions
from modelcast.shared.compression import CODEC, unpack_chunk
from modelcast.shared.digest import digest, same
from modelcast.shared.errors import HostFault, SenderFault, VersionConflict
from modelcast.shared.limits import DEFAULT_LIMITS, counted
from modelcast.shared.manifest import MANIFEST_FORMATS, Manifest, release_id
from modelcast.shared.order import ORDER_FORMATS, Order, OrderMessage, order_id
from modelcast.shared.publishing_road import PublisherRoad
from modelcast.shared.reasons import Reason
from modelcast.shared.road import ArrivedChunk, Road, Target
from modelcast.shared.signing import Envelope

IDLE_SECONDS = 5.0
"""Silence after which a stream counts as read to its end."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of an order.

    Attributes:
        version: The version that it orders.
        release: Id of the release.
        sequence: Its number in the channel.
        sent_bytes: Bytes of the artifact that were sent now.
        total_bytes: Size of the artifact.
        was_there: Whether the other road had this order, or a later one, already.
    """

    version: str
    release: str
    sequence: int
    sent_bytes: int
    total_bytes: int
    was_there: bool


@dataclass(frozen=True, slots=True)
class _Opened:
    """An order message taken apart, and not believed."""

    body: bytes
    envelope: bytes
    order: Order
    manifest: Manifest
    release: str

    @classmethod
    def of(cls, body: bytes, where: Target) -> "_Opened":
        """Take a message apart; raises SenderFault when it is no order for ``where``, or its halves do not belong together."""
        message = OrderMessage.from_bytes(body)
        payload = Envelope.from_bytes(message.manifest, what="manifest").payload
        most = DEFAULT_LIMITS.order_bytes
        order = Order.from_bytes(
            Envelope.from_bytes(message.order, what="order").payload, what="order", formats=ORDER_FORMATS, max_bytes=most
        )
        manifest = Manifest.from_bytes(payload, what="manifest", formats=MANIFEST_FORMATS, max_bytes=most)
        if (order.model, order.channel, manifest.model) != (where.model, where.channel, where.model):
            raise SenderFault(Reason.WRONG_TARGET, f"This order is for {order.model}/{order.channel}.")
        if order.release.hex() != release_id(payload):
            raise SenderFault(Reason.MANIFEST_MISMATCH, "The order names another release than the manifest that came with it.")
        return cls(body, message.manifest, order, manifest, order.release.hex())


class Bridge:
    """Carries the orders of one channel.

    Args:
        source: Where they come from; joined as an instance, which has its place there while the bridge is away.
        target: Where they go.
        where: Model, channel, and the name of that instance.
        idle_seconds: Silence after which the source's stream counts as read to its end.
    """

    def __init__(self, source: Road, target: Road, where: Target, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._source, self._target, self._where, self._idle_seconds = source, target, where, idle_seconds

    def run(self, tell: Callable[[Carried], None], refused: Callable[[SenderFault], None], *, once: bool) -> None:
        """Carry what is there, and then what comes; ``once`` ends when nothing comes for a while.

        Of the history only the newest order is carried. An order is settled when the other road has it for good; one that is none is
        refused, and becomes a dead letter of the source.

        Raises:
            HostFault: One of the roads broke, or has not all chunks; run it again.
            PublisherBusy: Somebody publishes the model on the target.
        """
        joined, newest = self._source.join(self._where), None
        try:
            while True:
                arrived = joined.next_order(1.0)
                if arrived is not None and arrived.receipt is None:
                    newest = arrived
                    continue
                if newest is not None:   # the history is over
                    self._try(newest.body, tell, refused)
                    newest = None
                if arrived is None and once:
                    return
                if arrived is not None:
                    is_fine = arrived.is_announcement or self._try(arrived.body, tell, refused)
                    joined.settle(arrived, accept=is_fine)
        finally:
            joined.close()

    def _try(self, body: bytes, tell: Callable[[Carried], None], refused: Callable[[SenderFault], None]) -> bool:
        try:
            tell(self.carry(body))
        except SenderFault as fault:
            refused(fault)
            return False
        return True

    def carry(self, body: bytes) -> Carried:
        """Carry one order, and of its release what the target has not.

        Raises:
            SenderFault: It is no order of this channel.
            VersionConflict: The target knows the version with other bytes.
            HostFault: A road broke, or the source has not all chunks.
        """
        opened = _Opened.of(body, self._where)
        return self._through_session(opened, sends=False) or cast("Carried", self._through_session(opened, sends=True))

    def _through_session(self, opened: _Opened, *, sends: bool) -> Carried | None:
        session = self._target.publish(self._where.model, self._where.channel, sends=sends)
        try:
            return self._carry(session, opened, sends=sends)
        finally:
            session.close()

    def _carry(self, session: PublisherRoad, opened: _Opened, *, sends: bool) -> Carried | None:
        """Carry an order; returns None where chunks are missing and this session does not send."""
        hold, order, channel = Hold(session, Sessions(self._target).rejoin), opened.order, self._where.channel
        catalog = hold.catalog
        if _is_overtaken(catalog, order):
            return _carried(opened, 0, was_there=True)
        known = catalog.release(opened.manifest.version)
        if known is not None and not same(known.manifest.artifact.identity, opened.manifest.artifact.identity):
            raise VersionConflict(
                f"{opened.manifest.model} {opened.manifest.version} is known there with other bytes.",
                hint="A version never changes its meaning: find out who published the other one.",
            )
        sent_bytes = 0
        if known is None or known.release != opened.release or has_lost(session, catalog, known):
            if not sends:
                return None
            sent_bytes = self._send(session, hold, opened)
            if _is_overtaken(hold.catalog, order):   # others may have ordered meanwhile
                return _carried(opened, sent_bytes, was_there=True)
        signers = Envelope.from_bytes(OrderMessage.from_bytes(opened.body).order, what="order").signatures
        intended = Ordered(
            channel, order.sequence, opened.release, order.issued_ms, kind=order.kind.value, key=signers[0][0] if signers else None,
            up_to=order.up_to, rollout=order.rollout,
        )
        session.register.append(intended.to_bytes())
        session.order(channel, opened.body)
        ordered = replace(intended, order=order_id(opened.body))
        session.register.append(ordered.to_bytes())
        return _carried(opened, sent_bytes, was_there=False)

    def _send(self, session: PublisherRoad, hold: Hold, opened: _Opened) -> int:
        """Send what the target has not, and record the release; returns how many bytes of the artifact that were."""
        catalog = hold.catalog
        version, chunks = opened.manifest.version, list(opened.manifest.artifact.chunks())
        mark = session.chunks.mark()
        begun = catalog.begun(version)
        if begun is not None and begun.offset >= mark:
            begun = None
        at = kept_from(session, begun.offset) if begun else mark
        resumed = set(session.chunks.held_since(at)) if begun else set[bytes]()
        budget = None if session.retention_bytes is None else session.retention_bytes // 2 - opened.manifest.artifact.size
        still = held(session, catalog, mark=mark, budget_bytes=budget)
        plan = Plan(mark=mark, resumed_from=at if begun else None, resumed=resumed, held=still)
        missing = {chunk.digest: index for index, chunk in enumerate(chunks) if plan.sends(chunk.digest, chunk.size)}
        begin = begun or Begun(version, mark)
        if begun is None:
            session.register.append(begin.to_bytes())
        hold.let_go()
        for arrived in self._found(opened.order, set(missing)):
            identity = bytes.fromhex(arrived.claim or "")
            session.chunks.send(
                bytes(arrived.body), version=version, index=missing[identity], count=len(chunks), digest=identity.hex(),
                codec=CODEC if arrived.is_packed else "none",
            )
        session.chunks.finish(opened.release)
        hold.take()
        hold.refuse_lost(begin, plan)
        released = Released(opened.envelope, plan.chunks_offset, plan.oldest_offset, plan.new_digests, plan.new_bytes)
        session.register.append(released.to_bytes())
        return plan.sent_bytes

    def _found(self, order: Order, missing: set[bytes]) -> Iterator[ArrivedChunk]:
        """Yield each missing chunk once, verified: from where the order says to the release's end, then from the oldest on."""
        starts = [order.oldest_offset] if order.oldest_offset is None else [order.oldest_offset, None]
        for start in starts:
            if not missing:
                return
            source = self._source.chunks(self._where.model, start)
            try:
                while missing and (arrived := source.receive(self._idle_seconds)) is not None:
                    if arrived.ends == order.release.hex() and start != starts[-1]:
                        break   # the last reading goes on: what was missing may have been sent again behind it
                    if _is_whole(arrived) and (identity := bytes.fromhex(arrived.claim or "")) in missing:
                        missing.discard(identity)
                        yield arrived
            finally:
                source.close()
        if missing:
            raise HostFault(
                f"{counted(len(missing), 'chunk')} of {order.release.hex()[:12]} cannot be found on the road that is carried from.",
                hint="Publish the version there again with --resend (resend=True).", facts={"missing_chunks": len(missing)},
            )


def _is_overtaken(catalog: Catalog, order: Order) -> bool:
    last = catalog.last_order(order.channel)
    return last is not None and last.sequence >= order.sequence


def _is_whole(arrived: ArrivedChunk) -> bool:
    if not arrived.is_chunk or arrived.claim is None:
        return False
    body: Any = unpack_chunk(arrived.body, max_bytes=DEFAULT_LIMITS.chunk_bytes) if arrived.is_packed else arrived.body
    return body is not None and digest(body).hex() == arrived.claim


def _carried(opened: _Opened, sent_bytes: int, *, was_there: bool) -> Carried:
    manifest = opened.manifest
    return Carried(manifest.version, opened.release, opened.order.sequence, sent_bytes, manifest.artifact.size, was_there)
