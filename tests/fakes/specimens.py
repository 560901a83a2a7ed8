"""Good values to begin a test with: a manifest, an order, a report. Every field can be replaced."""

from hashlib import sha256

from modelcast.shared.digest import digest
from modelcast.shared.manifest import MANIFEST_TYPE, Artifact, Environment, FileEntry, Manifest, release_id
from modelcast.shared.order import ORDER_TYPE, Kind, Order, OrderMessage
from modelcast.shared.report import Report, ReportKind, Verdict
from modelcast.shared.signing import SigningKey

CONTENT = bytes(range(256)) * 10


def file_entry(path: str = "model.bin", content: bytes = CONTENT, chunk_bytes: int = 1000) -> FileEntry:
    """Describe a file that holds ``content`` in chunks of ``chunk_bytes``."""
    chunks = [content[start : start + chunk_bytes] for start in range(0, len(content), chunk_bytes)]
    return FileEntry(
        path=path, size=len(content), sha256=sha256(content).digest(),
        chunk_digests=b"".join(map(digest, chunks)), chunk_sizes=tuple(map(len, chunks)),
    )


def manifest(**changes: object) -> Manifest:
    """Describe version 2.1.0 of ``fraud``, one file."""
    fields: dict[str, object] = {
        "model": "fraud", "version": "2.1.0", "created": "2025-01-01T00:00:00Z",
        "artifact": Artifact(format="files", loader="files", files=(file_entry(),)),
        "environment": Environment(python="3.11.7", implementation="cpython", platform="linux", machine="x86_64"),
    }
    return Manifest.model_validate(fields | changes)


def order(**changes: object) -> Order:
    """Order ``production`` of ``fraud`` to run the release of ``manifest()``."""
    fields: dict[str, object] = {
        "model": "fraud", "channel": "production", "kind": Kind.PROMOTION,
        "release": bytes.fromhex(release_id(manifest().to_bytes())), "sequence": 1, "issued_ms": 1_735_689_600_000,
    }
    return Order.model_validate(fields | changes)


def order_message(key: SigningKey, described: Manifest | None = None, **changes: object) -> OrderMessage:
    """Return a signed order for ``described`` (``manifest()`` if none), with changed fields of the order."""
    payload = (described or manifest()).to_bytes()
    fields = {"release": bytes.fromhex(release_id(payload))} | changes
    return OrderMessage(key.sign(ORDER_TYPE, order(**fields).to_bytes()), key.sign(MANIFEST_TYPE, payload))


def report(**changes: object) -> Report:
    """Report that instance ``a`` promoted an order."""
    fields: dict[str, object] = {
        "kind": ReportKind.VERDICT, "instance": "a", "boot": "0123456789abcdef", "model": "fraud", "channel": "production",
        "time_ms": 1_735_689_600_000, "verdict": Verdict.PROMOTED, "version": "2.1.0", "sequence": 1,
    }
    return Report.model_validate(fields | changes)
