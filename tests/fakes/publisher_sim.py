"""A publisher that does whatever a test wants: real keys and real releases, honest or forged, complete or not.

In the style of python-tuf's repository simulator: what is published is a value that a test can change before it is sent.
"""

import platform
import random
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from tests.fakes.specimens import file_entry

from modelcast.publisher.build import Facts, describe, draft
from modelcast.publisher.pickling import pickle_object
from modelcast.publisher.progress import unwatched
from modelcast.publisher.sampling import SampleSet
from modelcast.publisher.sources import MemoryFile, SourceFile
from modelcast.shared.digest import digest
from modelcast.shared.manifest import MANIFEST_TYPE, Artifact, Environment, Manifest, release_id
from modelcast.shared.order import ANNOUNCEMENT_TYPE, DRAFT_TYPE, ORDER_TYPE, AnnouncementMessage, Kind, Order, OrderMessage
from modelcast.shared.road import Road
from modelcast.shared.signing import SigningKey

HERE = Environment(
    python=platform.python_version(), implementation=sys.implementation.name, platform=sys.platform, machine=platform.machine()
)
CHUNK_BYTES = 1000


@dataclass(frozen=True)
class Release:
    """A signed manifest with its files."""

    manifest: Manifest
    envelope: bytes
    files: Mapping[str, bytes]

    @cached_property
    def id(self) -> str:
        return release_id(self.manifest.to_bytes())

    @property
    def version(self) -> str:
        return self.manifest.version

    def chunks(self) -> list[bytes]:
        """The bodies of its chunks, in order."""
        paths = [entry.path for entry in self.manifest.artifact.files]
        return [self.files[paths[c.file]][c.offset : c.offset + c.size] for c in self.manifest.artifact.chunks()]


@dataclass(frozen=True)
class Sent:
    """A chunk message: what it holds and what it claims to hold."""

    body: bytes
    claim: str

    @classmethod
    def honest(cls, body: bytes) -> "Sent":
        return cls(body, digest(body).hex())

    def damaged(self) -> "Sent":
        """The same claim over other bytes."""
        return Sent(bytes([self.body[0] ^ 1]) + self.body[1:], self.claim)


Alteration = Callable[[list[Sent]], list[Sent]]


def withheld(*indexes: int) -> Alteration:
    """Leave out the chunks with these indexes."""
    return lambda sent: [message for index, message in enumerate(sent) if index not in indexes]


def damaged(*indexes: int) -> Alteration:
    """Damage the chunks with these indexes."""
    return lambda sent: [message.damaged() if index in indexes else message for index, message in enumerate(sent)]


def shuffled(seed: int) -> Alteration:
    """Send in another order."""
    return lambda sent: random.Random(seed).sample(sent, len(sent))


def honest(sent: list[Sent]) -> list[Sent]:
    """Send as it is."""
    return sent


class PublisherSimulator:
    """Publishes one model to one channel.

    Args:
        road: Where to; None for a simulator that only builds.
        key: Signs manifests and orders unless a call names another.
    """

    def __init__(self, road: Road | None, key: SigningKey, *, model: str = "fraud", channel: str = "production") -> None:
        self._road, self.key, self.model, self.channel = road, key, model, channel
        self.sequence = self._announced = 0

    def release(
        self, version: str, files: Mapping[str, bytes] | None = None, *, key: SigningKey | None = None,
        chunk_bytes: int = CHUNK_BYTES, format_name: str = "files", loader: str | None = None, **changes: object,
    ) -> Release:
        """Build a release of files; ``changes`` replace fields of the manifest."""
        files = files if files is not None else {"model.bin": f"model {version} ".encode() * 300}
        entries = tuple(file_entry(path, content, chunk_bytes) for path, content in sorted(files.items()))
        fields: dict[str, object] = {
            "model": self.model, "version": version, "created": "2025-01-01T00:00:00Z", "environment": HERE,
            "artifact": Artifact(format=format_name, loader=loader or format_name, files=entries),
        }
        return self.sign(Manifest.model_validate(fields | changes), files, key=key)

    def pickled(
        self, version: str, model: object, *, samples: SampleSet | None = None, key: SigningKey | None = None,
        environment: Environment = HERE,
    ) -> Release:
        """Build a release of an object."""
        files, _ = pickle_object(model)
        return self._built(version, files, "cloudpickle", samples, key, environment)

    def joblibbed(self, version: str, model: object, *, samples: SampleSet | None = None) -> Release:
        """Build a release of an object that joblib dumped."""
        import io

        import joblib

        stream = io.BytesIO()
        joblib.dump(model, stream)
        return self._built(version, [MemoryFile("model.joblib", [stream.getvalue()])], "joblib", samples, None, HERE)

    def _built(
        self, version: str, files: Iterable[SourceFile], format_name: str, samples: SampleSet | None, key: SigningKey | None,
        environment: Environment,
    ) -> Release:
        facts = Facts(self.model, version, environment, samples=samples)
        drafted = draft(list(files), facts, artifact_format=format_name, loader=format_name, chunk_bytes=CHUNK_BYTES)
        manifest = describe(drafted, unwatched).model_copy(update={"created": "2025-01-01T00:00:00Z"})
        contents = {file.path: bytes(file.read(0, file.size)) if file.size else b"" for file in drafted.files}
        return self.sign(manifest, contents, key=key)

    def sign(self, manifest: Manifest, files: Mapping[str, bytes], *, key: SigningKey | None = None) -> Release:
        """Sign a manifest, whatever it says."""
        return Release(manifest, (key or self.key).sign(MANIFEST_TYPE, manifest.to_bytes()), files)

    def order(
        self, release: Release, *, key: SigningKey | None = None, kind: Kind = Kind.PROMOTION, sequence: int | None = None,
        **changes: object,
    ) -> bytes:
        """Return an order message for a release with the next sequence; ``changes`` replace fields of the order."""
        self.sequence = self.sequence + 1 if sequence is None else sequence
        fields: dict[str, object] = {
            "model": self.model, "channel": self.channel, "kind": kind, "release": bytes.fromhex(release.id),
            "sequence": self.sequence, "issued_ms": 1_735_689_600_000,
        }
        payload = Order.model_validate(fields | changes).to_bytes()
        return OrderMessage((key or self.key).sign(ORDER_TYPE, payload), release.envelope).to_bytes()

    def announcement(self, release: Release, *, key: SigningKey | None = None, **changes: object) -> bytes:
        """Return the message that announces a release, with the sequence that its order will have."""
        blank = [
            entry.model_copy(update={"chunk_digests": bytes(len(entry.chunk_digests)), "sha256": None})
            for entry in release.manifest.artifact.files
        ]
        artifact = release.manifest.artifact.model_copy(update={"files": tuple(blank)})
        draft = release.manifest.model_copy(update={"artifact": artifact}).to_bytes()
        fields: dict[str, object] = {
            "model": self.model, "channel": self.channel, "kind": Kind.PROMOTION, "release": digest(draft),
            "sequence": self.sequence + 1, "issued_ms": 1_735_689_600_000 + self._announced,
        }
        self._announced += 1
        signed = (key or self.key).sign(ANNOUNCEMENT_TYPE, Order.model_validate(fields | changes).to_bytes())
        return AnnouncementMessage(signed, (key or self.key).sign(DRAFT_TYPE, draft)).to_bytes()

    def send(self, release: Release, alter: Alteration = honest, *, ends: bool = True) -> int:
        """Send a release's chunks; returns the offset where they begin."""
        assert self._road is not None
        session = self._road.publish(self.model, self.channel)
        try:
            begin = session.chunks.mark()
            sent = alter([Sent.honest(body) for body in release.chunks()])
            for index, message in enumerate(sent):
                session.chunks.send(message.body, version=release.version, index=index, count=len(sent), digest=message.claim)
            if ends:
                session.chunks.finish(release.id)
        finally:
            session.close()
        return begin

    def announce(self, body: bytes) -> bytes:
        """Send an order message, or what pretends to be one."""
        assert self._road is not None
        session = self._road.publish(self.model, self.channel)
        try:
            session.order(self.channel, body)
        finally:
            session.close()
        return body

    def publish(self, release: Release, alter: Alteration = honest, **order: object) -> bytes:
        """Send chunks and order; returns the order message."""
        begin = self.send(release, alter)
        return self.announce(self.order(release, **({"chunks_offset": begin, "oldest_offset": begin} | order)))  # type: ignore[arg-type]
