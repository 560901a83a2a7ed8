"""Where chunks begin and end: pure arithmetic. Imports the limits."""

from collections.abc import Sequence

from modelcast.shared.limits import KIB

MIN_CUT_BYTES = 64 * KIB
"""Boundaries restart at parts at least this large: smaller chunks cost more than their reuse saves (measured)."""


def chunk_sizes(size: int, chunk_bytes: int, cuts: Sequence[int] = ()) -> list[int]:
    """Return the sizes of a file's chunks.

    Args:
        size: Bytes of the file.
        chunk_bytes: Largest chunk.
        cuts: Offsets where a chunk must begin; those less than ``MIN_CUT_BYTES`` after the last are passed over.

    Returns:
        Sizes in bytes that add up to ``size``.
    """
    sizes: list[int] = []
    start = 0
    for cut in [*sorted(cuts), size]:
        if cut != size and (cut - start < MIN_CUT_BYTES or cut >= size):
            continue
        whole, rest = divmod(cut - start, chunk_bytes)
        sizes.extend([chunk_bytes] * whole)
        if rest:
            sizes.append(rest)
        start = cut
    return sizes
