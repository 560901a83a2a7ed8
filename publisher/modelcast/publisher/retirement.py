"""What a register says of an instance that does not come back. Pure; imports how records are made.

Decides when it is back all the same: when it reported since, or was started again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelcast.publisher.recording import number, of, record


@dataclass(frozen=True, slots=True)
class Retired:
    """An instance of which somebody said that it does not come back.

    Attributes:
        channel: Name of its channel.
        instance: Its id.
        boot: The start of it that was seen last.
        reported_ms: When that reported last, by its own clock.
        at_ms: When somebody said so, milliseconds since 1970 UTC.
    """

    channel: str
    instance: str
    boot: str
    reported_ms: int
    at_ms: int

    def to_bytes(self) -> bytes:
        """Return the record's bytes."""
        return record(
            "retired", channel=self.channel, instance=self.instance, boot=self.boot, reported_ms=self.reported_ms, at_ms=self.at_ms
        )

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> "Retired":
        """Return what a record says; raises ValueError, KeyError when it is damaged."""
        return cls(
            of(str, fields["channel"]), of(str, fields["instance"]), of(str, fields["boot"]), number(fields["reported_ms"]),
            number(fields["at_ms"]),
        )

    def is_still_away(self, boot: str, reported_ms: int) -> bool:
        """Whether an instance that reported last under this start, at this time by its own clock, has not come back."""
        return boot == self.boot and reported_ms <= self.reported_ms
