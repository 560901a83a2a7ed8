"""The notice: what the receiving process tells the other processes of its store. Pure: bytes to value and back.

Decides the record. It is self-checking like the pointer, but not durable: it is about processes that run now, and nobody
trusts it. What it names is verified by whoever loads it. Imports sealed.
"""

from dataclasses import dataclass

from modelcast.consumer.sealed import seal, unseal

MAGIC = b"modelcast notice 1\n"
MAX_NOTICE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Notice:
    """What the receiver tells.

    Attributes:
        pid: Its process.
        instance: Id of the instance that it receives for.
        candidate: Release id that it is about to load and to try, or None.
        connected_since_ms: Since when it is connected, milliseconds since 1970 UTC, or None.
    """

    pid: int
    instance: str
    candidate: str | None = None
    connected_since_ms: int | None = None

    def to_bytes(self) -> bytes:
        """Return the record."""
        return seal(MAGIC, {
            "pid": self.pid, "instance": self.instance, "candidate": self.candidate, "connected_since_ms": self.connected_since_ms,
        })

    @classmethod
    def from_bytes(cls, record: bytes) -> "Notice | None":
        """Return the notice that ``record`` holds, or None when it is torn, altered or of another format."""
        fields = unseal(MAGIC, record, max_bytes=MAX_NOTICE_BYTES)
        try:
            return None if fields is None else cls(
                fields["pid"], fields["instance"], fields["candidate"], fields["connected_since_ms"]
            )
        except KeyError:
            return None
