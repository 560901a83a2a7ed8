"""One publication: chunks first, order last, each step recorded before it is taken.

Decides the order of steps, what a second attempt leaves out, and what is announced before the bytes. The artifact is read, hashed
and sent in one pass. Imports catalog, plan, hashing, the road's protocols and the wire values; knows no road and no pickle.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from modelcast.publisher.build import Draft, describe
from modelcast.publisher.catalog import Begun, Catalog, KnownRelease, Ordered, Released
from modelcast.publisher.codec_choice import CodecChoice
from modelcast.publisher.hashing import Hashing
from modelcast.publisher.hold import Hold, Rejoin
from modelcast.publisher.holding import has_lost, held, kept_from
from modelcast.publisher.intent import Intent
from modelcast.publisher.ordering import Instruction, milliseconds_since, send_order
from modelcast.publisher.plan import Plan
from modelcast.publisher.progress import Progress, Watcher
from modelcast.shared.digest import digest, same
from modelcast.shared.errors import ChangedWhileReading, ReleaseTooLarge, SenderFault, VersionConflict
from modelcast.shared.failpoints import Point, reach
from modelcast.shared.limits import MIB
from modelcast.shared.manifest import MANIFEST_TYPE, Manifest, release_id
from modelcast.shared.order import ANNOUNCEMENT_TYPE, DRAFT_TYPE, AnnouncementMessage, Kind, Order
from modelcast.shared.publishing_road import ChunkCheck, PublisherRoad
from modelcast.shared.signing import Envelope, KeyRing, SigningKey

ANNOUNCED_BYTES = 8 * MIB
"""Smaller artifacts are sent in less time than an instance takes to begin reading, or others to order meanwhile."""
ANNOUNCEMENT_LASTS_MS = 24 * 3600 * 1000
"""What is announced and not ordered within a day was given up."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What ``publish`` did.

    Attributes:
        model: Name of the model.
        version: Version.
        channel: Channel that was ordered to run it.
        release: Id of the release, 64 hexadecimal digits.
        order: Identity of the order, 64 hexadecimal digits; reports name it.
        sequence: Sequence of the order.
        issued_ms: When the order was issued, milliseconds since 1970 UTC.
        total_bytes: Size of the artifact.
        sent_bytes: Bytes of it that were sent now.
        reused_bytes: Bytes of it that the stream held already.
        wire_bytes: Bytes that were sent for ``sent_bytes``: fewer where packing pays.
        was_current: Whether the channel ran this release already, so that nothing was sent or ordered.
        chunks_are_gone: Whether chunks of it are not on the road any more, so that only instances that hold it can switch.
    """

    model: str
    version: str
    channel: str
    release: str
    order: str
    sequence: int
    issued_ms: int
    total_bytes: int
    sent_bytes: int
    reused_bytes: int
    wire_bytes: int
    was_current: bool
    chunks_are_gone: bool = False


def carry_out(road: PublisherRoad, intent: Intent, watch: Watcher, rejoin: Rejoin) -> Publication:
    """Publish through an open session; others may order while a large artifact is read and sent.

    Raises:
        VersionConflict: The version exists with other bytes.
        Withdrawn: It was rolled back in this channel; with ``resend``: while it was sent.
        ReleaseTooLarge: It is over half of what the road keeps.
        ChangedWhileReading: A file changed while it was read.
        HostFault: The road broke; call again, and only what is missing is sent.
    """
    hold = Hold(road, rejoin)
    known = hold.catalog.release(intent.draft.facts.version)
    if known is None:
        return _order(road, hold, intent, _send_chunks(road, hold, intent, watch))
    if not intent.resend:
        hold.catalog.refuse_withdrawn(intent.channel, known.release, known.manifest.version)
    if _is_large(intent):
        hold.let_go()
    manifest = describe(intent.draft, watch)
    if hold.take():
        hold.refuse_withdrawn_meanwhile(intent.channel, known.manifest.version)
        known = hold.catalog.release(known.manifest.version) or known   # a command may have found that its chunks are gone
    _check_same_bytes(known, manifest)
    envelope = _own_envelope(known, intent.keys.manifests)
    last = hold.catalog.last_order(intent.channel)
    sends = intent.resend or has_lost(road, hold.catalog, known)
    is_last = last is not None and last.release == known.release and last.up_to is None   # a wave of it is not for all
    if envelope is not None and last is not None and is_last and not sends:
        return _publication(intent, last, _Recorded(known.record, known.release), was_current=True)
    if sends:
        record = _send_chunks(road, hold, intent, watch, again=manifest, envelope=envelope)
    elif envelope is None:   # the chunks are there, but another key signed for them
        envelope = intent.keys.manifests.sign(MANIFEST_TYPE, manifest.to_bytes())
        released = replace(known.record, manifest=envelope, new_digests=b"", new_bytes=0)
        record = _Recorded(released, release_id(manifest.to_bytes()))
        road.register.append(released.to_bytes())
    else:
        record = _Recorded(known.record, known.release)
    return _order(road, hold, intent, record)


def _check_same_bytes(known: KnownRelease, manifest: Manifest) -> None:
    if not same(known.manifest.artifact.identity, manifest.artifact.identity):
        raise VersionConflict(
            f"{manifest.model} {manifest.version} was published on {known.manifest.created} with other bytes.",
            hint="A version never changes its meaning: publish these bytes under a higher version.",
            facts={
                "known_files": {entry.path: entry.identity.hex() for entry in known.manifest.artifact.files},
                "new_files": {entry.path: entry.identity.hex() for entry in manifest.artifact.files},
            },
        )


def _own_envelope(known: KnownRelease, key: SigningKey) -> bytes | None:
    """Return the registered manifest if our own key signed it (then the release keeps its id), else None.

    Instances of this channel may not trust another key.
    """
    try:
        KeyRing([key.trusted()]).open(known.record.manifest, MANIFEST_TYPE, what="manifest")
    except SenderFault:
        return None
    return known.record.manifest


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A release as the register will know it, its id, how many bytes of it were sent, in how many, and how long that took."""

    released: Released
    release: str
    sent_bytes: int = 0
    wire_bytes: int = 0
    published_ms: float | None = None


def _send_chunks(
    road: PublisherRoad, hold: Hold, intent: Intent, watch: Watcher, *, again: Manifest | None = None, envelope: bytes | None = None,
) -> _Recorded:
    """Read the artifact once: hash, send what the stream does not hold, sign (unless there is an ``envelope`` already) and record it.

    Raises ChangedWhileReading when it was read before (``again``) and reads otherwise now.
    """
    total, budget = intent.draft.total_bytes, None
    if road.retention_bytes is not None:
        budget = road.retention_bytes // 2 - total
        if budget < 0:
            raise ReleaseTooLarge(
                f"The release has {total} bytes; at most half of the {road.retention_bytes} that the broker keeps is taken.",
                hint="Publish a smaller artifact, or raise the retention of the model's chunk stream.",
                facts={"size": total, "retention_bytes": road.retention_bytes},
            )
    mark = road.chunks.mark()
    begun = None if intent.resend else hold.catalog.begun(intent.draft.facts.version)
    if begun is not None and begun.offset >= mark:
        begun = None   # the stream was deleted and made anew
    at = kept_from(road, begun.offset) if begun else mark
    still = {} if intent.resend else held(road, hold.catalog, mark=mark, budget_bytes=budget)
    begin = begun or Begun(intent.draft.facts.version, mark)
    first = partial(_begin, road, hold, intent, None if begun else begin, (at, mark), is_new=again is None)
    if _is_large(intent):   # before anything of it is read
        first()
    resumed = _left_behind(road, at, watch, intent.draft) if begun else set[bytes]()
    plan = Plan(mark=mark, resumed_from=at if begun else None, resumed=resumed, held=still)
    manifest, wire_bytes = _send(road, intent.draft, plan, None if _is_large(intent) else first, watch)
    if again is not None and not same(manifest.artifact.identity, again.artifact.identity):
        raise ChangedWhileReading("A file changed while it was published.", hint="Publish files that nobody writes to.")
    if envelope is None:
        envelope = intent.keys.manifests.sign(MANIFEST_TYPE, manifest.to_bytes())
    release = release_id(Envelope.from_bytes(envelope, what="manifest").payload)
    reach(Point.BEFORE_FINISH)
    road.chunks.finish(release)
    reach(Point.AFTER_FINISH)
    published_ms = milliseconds_since(intent.began)
    if hold.take():
        hold.refuse_withdrawn_meanwhile(intent.channel, intent.draft.facts.version)   # before it has a record that nobody withdrew
        hold.refuse_lost(begin, plan)
    released = Released(envelope, plan.chunks_offset, plan.oldest_offset, plan.new_digests, plan.new_bytes)
    road.register.append(released.to_bytes())
    reach(Point.AFTER_RELEASED)
    return _Recorded(released, release, plan.sent_bytes, wire_bytes, published_ms)


def _left_behind(road: PublisherRoad, offset: int, watch: Watcher, draft: Draft) -> set[bytes]:
    """Return the digests of what an interrupted attempt, or anybody since, left in the stream."""
    found: set[bytes] = set()
    for identity in road.chunks.held_since(offset):
        found.add(identity)
        done = draft.total_bytes * len(found) // max(1, draft.chunk_count)   # about: the road tells no sizes
        watch(Progress("checking", min(done, draft.total_bytes), draft.total_bytes))
    return found


def _begin(
    road: PublisherRoad, hold: Hold, intent: Intent, begin: Begun | None, offsets: tuple[int, int], *, is_new: bool
) -> None:
    """Record that chunks are sent now, and let the instances begin to read them; ``is_new`` says that they know no such version."""
    if begin is not None:
        reach(Point.BEFORE_BEGIN)
        road.register.append(begin.to_bytes())
        reach(Point.AFTER_BEGIN)
    if not _is_large(intent):
        return
    if is_new:
        road.announce(intent.channel, _announcement(hold.catalog, intent, *offsets))
    hold.let_go()


def _is_large(intent: Intent) -> bool:
    return intent.draft.total_bytes >= ANNOUNCED_BYTES


def _announcement(catalog: Catalog, intent: Intent, oldest_offset: int, mark: int) -> bytes:
    """Return the message that says what will be ordered: signed by the keys that will sign it.

    What an interrupted attempt left lies from ``oldest_offset`` on, what is sent now from ``mark`` on.
    """
    draft, lasts_ms = intent.draft.blank().to_bytes(), intent.now_ms + ANNOUNCEMENT_LASTS_MS
    announced = Order(
        model=intent.draft.facts.model, channel=intent.channel, kind=Kind.PROMOTION, release=digest(draft),
        sequence=catalog.next_sequence(intent.channel, intent.now_ms), issued_ms=intent.now_ms,
        expires_ms=lasts_ms if intent.expires_ms is None else min(intent.expires_ms, lasts_ms), chunks_offset=mark,
        oldest_offset=oldest_offset,
    )
    keys = intent.keys
    return AnnouncementMessage(
        keys.orders.sign(ANNOUNCEMENT_TYPE, announced.to_bytes()), keys.manifests.sign(DRAFT_TYPE, draft)
    ).to_bytes()


def _send(
    road: PublisherRoad, draft: Draft, plan: Plan, first: Callable[[], None] | None, watch: Watcher
) -> tuple[Manifest, int]:
    """Read, hash and send; ``first``, if there is one, is called before the first chunk that is sent."""
    done, wire_bytes, total, count, choice = 0, 0, draft.total_bytes, draft.chunk_count, CodecChoice(draft)
    sink = road.chunks
    check = sink if isinstance(sink, ChunkCheck) else None
    with Hashing(draft.wholes) as hashing:
        for index, place in enumerate(draft.places()):
            content = draft.read(place)
            identity = hashing.take(place.file, content)
            is_gone = check is not None and plan.counts_on(identity) and not check.has(identity)
            if plan.sends(identity, place.size, is_gone=is_gone):
                if not wire_bytes and first is not None:
                    first()
                codec, body = choice.encode(place, content)
                sink.send(
                    body, version=draft.facts.version, index=index, count=count, digest=identity.hex(), codec=codec
                )
                wire_bytes += len(body)
                reach(Point.CHUNK_SENT)
            done += place.size
            watch(Progress("sending", done, total))
        return draft.manifest(hashing.digests()), wire_bytes


def _order(road: PublisherRoad, hold: Hold, intent: Intent, recorded: _Recorded) -> Publication:
    wanted = Instruction(
        intent.draft.facts.model, intent.channel, recorded.release, recorded.released, expires_ms=intent.expires_ms,
        began=intent.began, published_ms=recorded.published_ms,
    )
    ordered = send_order(road, hold.catalog, wanted, intent.keys.orders, intent.now_ms)
    return _publication(intent, ordered, recorded, was_current=False)


def _publication(intent: Intent, ordered: Ordered, recorded: _Recorded, *, was_current: bool) -> Publication:
    facts, size = intent.draft.facts, intent.draft.total_bytes
    return Publication(
        model=facts.model, version=facts.version, channel=intent.channel, release=ordered.release,
        order=ordered.order or "", sequence=ordered.sequence, issued_ms=ordered.issued_ms, total_bytes=size,
        sent_bytes=recorded.sent_bytes, reused_bytes=size - recorded.sent_bytes, wire_bytes=recorded.wire_bytes,
        was_current=was_current,
    )
