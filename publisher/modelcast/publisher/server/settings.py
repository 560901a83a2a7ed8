"""What the server takes and how long it waits, each bound with its reason. Pure; imports the shared limits."""

from dataclasses import dataclass

from modelcast.shared.limits import DEFAULT_LIMITS, KIB, MIB


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds on what clients may cost.

    Attributes:
        connections: Open at once; each costs a descriptor, two while it is sent files. One more is answered with 503.
        header_bytes: Request line and headers; ours have under 1 KiB.
        header_seconds: From the first byte of a request (or the connection) to the end of its headers.
        body_seconds: From the headers to the end of the body, for each MiB of it and at least once.
        idle_seconds: A connection without a request is kept this long.
        stall_seconds: A client that takes nothing of an answer for so long is cut off.
        wait_seconds: Longest long poll; below the 60 s after which proxies and firewalls forget connections.
        requests_per_second: Of one token, on average; chunks of 1 MiB at 2 GiB/s are 2,000.
        burst: Requests of one token that may come at once.
        small_bytes: Largest body of a call that is neither a chunk, an order, a record nor a report.
        record_bytes: Largest record of a register.
        answer_bytes: About where an answer that goes on in another one ends.
        lease_seconds: A publisher's session that asked for nothing for so long may be taken over.
        abandoned_seconds: After this its lock is let go, though nobody asked for it: publishers on the directory cannot ask.
        absence_seconds: An instance that did not ask for so long has left.
        members: Instances that are connected at once.
        readers: Readers of reports that are remembered at once.
        threads: For work on the disk; it is what the server waits for, not what it computes.
    """

    connections: int = 4096
    header_bytes: int = 32 * KIB
    header_seconds: float = 10.0
    body_seconds: float = 120.0
    idle_seconds: float = 75.0
    stall_seconds: float = 30.0
    wait_seconds: float = 55.0
    requests_per_second: float = 2000.0
    burst: int = 4000
    small_bytes: int = 64 * KIB
    record_bytes: int = 2 * DEFAULT_LIMITS.order_bytes
    answer_bytes: int = 8 * MIB
    lease_seconds: float = 30.0
    abandoned_seconds: float = 600.0
    absence_seconds: float = 60.0
    members: int = 10_000
    readers: int = 256
    threads: int = 8
