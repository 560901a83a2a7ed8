"""The values that cross between the processes of a benchmark: what one is told, and what it says back.

Decides their fields and how they become JSON. Imports measuring only.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.measuring import Usage, now_ns, usage_now


@dataclass(frozen=True)
class Task:
    """What one process of a round is told.

    Attributes:
        contender: Name of the contender.
        number: Number of the instance, from 0; the publisher has -1.
        instances: How many instances there are.
        size: Bytes of the artifact.
        source: File with that many bytes, for contenders that start from a file.
        sha256: Its SHA-256; every contender is told, as if it stood beside the file.
        folder: Where this process may write.
        common: A folder that all processes of the round see.
        label: Name of the round; no other round of the run has it.
        server: What the server's start returned: ports, URLs, folders.
    """

    contender: str
    number: int
    instances: int
    size: int
    source: str
    sha256: str
    folder: str
    common: str
    label: str
    server: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> Path:
        """Where an instance writes the artifact."""
        return Path(self.folder) / "artifact"

    def to_json(self) -> str:
        """Return the task as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """Read what ``to_json`` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Mark:
    """A moment in a process, with what the process had used by then.

    Attributes:
        name: ``ready``, ``called``, ``published``, ``verified`` or ``promoted``.
        at_ns: ``CLOCK_MONOTONIC``, which is one clock for all processes of a machine.
        usage: What the process had used.
        note: Other facts, such as the bytes that were fetched.
    """

    name: str
    at_ns: int
    usage: Usage
    note: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def now(cls, name: str, **note: Any) -> "Mark":
        """Return a mark of this moment; the clock is read first."""
        at_ns = now_ns()
        return cls(name, at_ns, usage_now(), note)

    def to_json(self) -> str:
        """Return the mark as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Mark":
        """Read what ``to_json`` wrote."""
        plain = json.loads(text)
        return cls(plain["name"], plain["at_ns"], Usage(**plain["usage"]), plain["note"])
