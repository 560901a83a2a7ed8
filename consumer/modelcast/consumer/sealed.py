"""A small record that checks itself: a magic line, the digest of the rest, the rest. Pure: map to bytes and back.

Decides what a torn, altered or foreign record is: none. Imports packing and digests.
"""

from collections.abc import Mapping
from typing import Any

from modelcast.shared.digest import DIGEST_BYTES, digest, same
from modelcast.shared.errors import SenderFault
from modelcast.shared.packing import pack, unpack


def seal(magic: bytes, fields: Mapping[str, object]) -> bytes:
    """Return the record of ``fields``."""
    body = pack(fields)
    return magic + digest(body) + body


def unseal(magic: bytes, record: bytes, *, max_bytes: int) -> dict[str, Any] | None:
    """Return the fields of a record, or None when it is torn, altered, of another kind or longer than ``max_bytes``."""
    begin = len(magic) + DIGEST_BYTES
    check, body = record[len(magic) : begin], record[begin:]
    if not record.startswith(magic) or not same(check, digest(body)):
        return None
    try:
        return unpack(body, what="record", max_bytes=max_bytes)
    except SenderFault:
        return None
