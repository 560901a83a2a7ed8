"""One publication: chunks first, order last, each step recorded before it is taken.

Decides the order of steps, and what a second attempt leaves out. Imports catalog, plan, the road's protocols and the wire
values; knows no road and no pickle.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from modelcast.publisher.catalog import Begun, Catalog, KnownRelease, Ordered, Released
from modelcast.publisher.plan import Plan, held_by_earlier, make_plan
from modelcast.publisher.progress import Progress, Watcher
from modelcast.publisher.sources import SourceFile
from modelcast.shared.digest import digest, same
from modelcast.shared.errors import ChangedWhileReading, ReleaseTooLarge, SenderFault, VersionConflict
from modelcast.shared.manifest import MANIFEST_TYPE, Manifest, release_id
from modelcast.shared.order import ORDER_TYPE, Kind, Order, OrderMessage, order_id
from modelcast.shared.road import PublisherRoad
from modelcast.shared.signing import KeyRing, SigningKey


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
        sent_bytes: Bytes that were sent now.
        reused_bytes: Bytes that the stream held already.
        was_current: Whether the channel ran this release already, so that nothing was sent or ordered.
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
    was_current: bool


@dataclass(frozen=True, slots=True)
class Keys:
    """Who signs what: ``manifests`` are signed by training, ``orders`` by operations; often the same key."""

    manifests: SigningKey
    orders: SigningKey


@dataclass(frozen=True, slots=True)
class Intent:
    """What is to be published where.

    Attributes:
        manifest: The manifest of this build.
        files: Its files, in the manifest's order.
        channel: The channel to order it for.
        keys: Who signs.
        now_ms: The time of the order, milliseconds since 1970 UTC.
        expires_ms: When the order expires, or None.
        resend: Send chunks and order even if the register has them.
    """

    manifest: Manifest
    files: Sequence[SourceFile]
    channel: str
    keys: Keys
    now_ms: int
    expires_ms: int | None = None
    resend: bool = False


def carry_out(road: PublisherRoad, intent: Intent, watch: Watcher) -> Publication:
    """Publish through an open session.

    Raises:
        VersionConflict: The version exists with other bytes.
        ReleaseTooLarge: It is over half of what the road keeps.
        ChangedWhileReading: A file changed since it was hashed.
        HostFault: The road broke; call again, and only what is missing is sent.
    """
    catalog = Catalog(road.register.read())
    known = catalog.release(intent.manifest.version)
    if known is not None:
        _check_same_bytes(known, intent.manifest)
    envelope, release = _manifest_envelope(known, intent)
    last = catalog.last_order(intent.channel)
    is_ours = known is not None and known.record.manifest == envelope
    if is_ours and last is not None and last.release == release and not intent.resend:
        return _publication(intent, last, sent_bytes=0, was_current=True)
    if known is None or intent.resend:
        record, sent_bytes = _send_chunks(road, catalog, intent, (envelope, release), watch)
        road.register.append(record.to_bytes())
    else:
        record, sent_bytes = known.record, 0
        if envelope != record.manifest:   # the chunks are there, but another key signed for them
            record = replace(record, manifest=envelope, new_digests=b"", new_bytes=0)
            road.register.append(record.to_bytes())
    ordered = _send_order(road, catalog.next_sequence(intent.channel, intent.now_ms), intent, record, release)
    return _publication(intent, ordered, sent_bytes=sent_bytes, was_current=False)


def _check_same_bytes(known: KnownRelease, manifest: Manifest) -> None:
    if not same(known.manifest.artifact.identity, manifest.artifact.identity):
        raise VersionConflict(
            f"{manifest.model} {manifest.version} was published on {known.manifest.created} with other bytes.",
            hint="A version never changes its meaning: publish these bytes under a higher version.",
            facts={
                "known_sha256": {entry.path: entry.sha256.hex() for entry in known.manifest.artifact.files},
                "new_sha256": {entry.path: entry.sha256.hex() for entry in manifest.artifact.files},
            },
        )


def _manifest_envelope(known: KnownRelease | None, intent: Intent) -> tuple[bytes, str]:
    """Return the registered manifest if our own key signed it (then the release keeps its id), else this build's."""
    if known is not None:
        try:
            KeyRing([intent.keys.manifests.trusted()]).open(known.record.manifest, MANIFEST_TYPE, what="manifest")
        except SenderFault:
            pass   # another key signed it; instances of this channel may not trust that one
        else:
            return known.record.manifest, known.release
    payload = intent.manifest.to_bytes()
    return intent.keys.manifests.sign(MANIFEST_TYPE, payload), release_id(payload)


def _send_chunks(
    road: PublisherRoad, catalog: Catalog, intent: Intent, signed: tuple[bytes, str], watch: Watcher
) -> tuple[Released, int]:
    envelope, release = signed
    artifact, budget = intent.manifest.artifact, None
    if road.retention_bytes is not None:
        budget = road.retention_bytes // 2 - artifact.size
        if budget < 0:
            raise ReleaseTooLarge(
                f"The release has {artifact.size} bytes; at most half of the {road.retention_bytes} that the broker keeps is taken.",
                hint="Publish a smaller artifact, or raise the retention of the model's chunk stream.",
                facts={"size": artifact.size, "retention_bytes": road.retention_bytes},
            )
    mark = road.chunks.mark()
    begun = None if intent.resend else catalog.begun(artifact.identity)
    if begun is not None and begun.offset >= mark:
        begun = None   # the stream was deleted and made anew
    wanted = {chunk.digest for chunk in artifact.chunks()}
    resumed = _left_behind(road, begun, wanted, watch, artifact.size) if begun else set[bytes]()
    held = {} if intent.resend else held_by_earlier(catalog.releases, mark=mark, budget_bytes=budget)
    plan = make_plan(artifact, mark=mark, resumed_from=begun.offset if begun else None, resumed=resumed, held=held)
    if begun is None and plan.send:
        road.register.append(Begun(artifact.identity, intent.manifest.version, mark).to_bytes())
    _send(road, intent, plan, release, watch)
    new = plan.new
    return Released(
        envelope, plan.chunks_offset, plan.oldest_offset, b"".join(chunk.digest for chunk in new), sum(chunk.size for chunk in new)
    ), plan.send_bytes


def _left_behind(road: PublisherRoad, begun: Begun, wanted: set[bytes], watch: Watcher, total: int) -> set[bytes]:
    found: set[bytes] = set()
    done = 0
    for body in road.chunks.held_since(begun.offset):
        identity = digest(body)
        if identity in wanted and identity not in found:
            found.add(identity)
            done += len(body)
            watch(Progress("checking", min(done, total), total))
    return found


def _send(road: PublisherRoad, intent: Intent, plan: Plan, release: str, watch: Watcher) -> None:
    done, total = 0, plan.send_bytes
    for index, chunk in enumerate(plan.send):
        content = intent.files[chunk.file].read(chunk.offset, chunk.size)
        if not same(digest(content), chunk.digest):
            raise ChangedWhileReading(
                f"{intent.files[chunk.file].path} changed between hashing and sending.",
                hint="Publish a file that nobody writes to; nothing was announced.",
            )
        road.chunks.send(content, release=release, index=index, count=len(plan.send), digest=chunk.digest.hex())
        done += chunk.size
        watch(Progress("sending", done, total))
    road.chunks.finish(release)


def _send_order(road: PublisherRoad, sequence: int, intent: Intent, record: Released, release: str) -> Ordered:
    order = Order(
        model=intent.manifest.model, channel=intent.channel, kind=Kind.PROMOTION, release=bytes.fromhex(release), sequence=sequence,
        issued_ms=intent.now_ms, expires_ms=intent.expires_ms, chunks_offset=record.chunks_offset,
        oldest_offset=record.oldest_offset,
    )
    body = OrderMessage(intent.keys.orders.sign(ORDER_TYPE, order.to_bytes()), record.manifest).to_bytes()
    intended = Ordered(intent.channel, sequence, release, intent.now_ms)
    road.register.append(intended.to_bytes())
    road.order(intent.channel, body)
    ordered = Ordered(intent.channel, sequence, release, intent.now_ms, order_id(body))
    road.register.append(ordered.to_bytes())
    return ordered


def _publication(intent: Intent, ordered: Ordered, *, sent_bytes: int, was_current: bool) -> Publication:
    size = intent.manifest.artifact.size
    return Publication(
        model=intent.manifest.model, version=intent.manifest.version, channel=intent.channel, release=ordered.release,
        order=ordered.order or "", sequence=ordered.sequence, issued_ms=ordered.issued_ms, total_bytes=size,
        sent_bytes=sent_bytes, reused_bytes=size - sent_bytes, was_current=was_current,
    )
