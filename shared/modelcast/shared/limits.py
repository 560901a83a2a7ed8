"""Every bound on what comes from outside, with its unit in its name and its reason beside it. Imports nothing."""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that one side enforces on the other's input.

    Attributes:
        order_bytes: Largest order message. 4.x refuses messages over 16 MiB; an order lists 37 bytes a chunk.
        report_bytes: Largest report; it holds sentences and a few facts.
        chunk_bytes: Largest chunk. Half of what RabbitMQ 4 lets through, so that headers never push one over.
        chunk_count: Most chunks of one artifact; at the default chunk size that is 128 GiB.
        file_count: Most files of one artifact; each costs an inode and a line in the manifest.
        artifact_bytes: Largest artifact an instance takes.
        message_depth: Deepest nesting in a message; ours have five levels.
        fact_characters: Longest text that is copied into a report, a log line or an error.
    """

    order_bytes: int = 8 * MIB
    report_bytes: int = 64 * KIB
    chunk_bytes: int = 8 * MIB
    chunk_count: int = 131_072
    file_count: int = 10_000
    artifact_bytes: int = 64 * GIB
    message_depth: int = 32
    fact_characters: int = 2_000


DEFAULT_LIMITS = Limits()


def shortened(text: object, characters: int = DEFAULT_LIMITS.fact_characters) -> str:
    """Return ``text`` cut to ``characters``, with a mark where it was cut; always text that can be sent.

    What is shortened are errors of other people's code: their text may raise, or hold surrogates that no UTF-8 has.
    """
    try:
        whole = str(text).encode("utf-8", "backslashreplace").decode()
    except Exception:  # noqa: BLE001 - see above
        whole = f"<a {type(text).__name__} without a text>"
    return whole if len(whole) <= characters else whole[: characters - 1] + "…"


def counted(count: int, thing: str) -> str:
    """Return a number with its word, in the plural unless it is one: ``1 chunk``, ``2 chunks``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
