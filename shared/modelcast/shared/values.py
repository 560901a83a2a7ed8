"""How signed values are parsed: frozen, strict, and every failure a ``SenderFault`` that names the field.

The base of manifest, order and report. Imports pydantic, the packing and the errors.
"""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from modelcast.shared.errors import SenderFault, UnknownFormat
from modelcast.shared.packing import pack, unpack
from modelcast.shared.reasons import Reason


class WireValue(BaseModel):
    """A value that travels. Unknown fields are ignored: what an old reader must not ignore raises the format number."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", arbitrary_types_allowed=False)

    def to_bytes(self) -> bytes:
        """Return the bytes that are signed and sent."""
        return pack(self.model_dump(mode="python"))

    @classmethod
    def from_map(cls, message: Mapping[str, Any], *, what: str, formats: frozenset[int]) -> Self:
        """Parse a map whose bytes are already trusted or bounded.

        Raises:
            UnknownFormat: Its ``format`` is none of ``formats``.
            SenderFault: A field is missing or wrong; the facts name it.
        """
        number = message.get("format")
        if not isinstance(number, int) or isinstance(number, bool):
            raise SenderFault(Reason.MALFORMED, f"This {what} names no format number.")
        if number not in formats:
            raise UnknownFormat(
                f"This {what} has format {number}; known here: {', '.join(map(str, sorted(formats)))}.",
                facts={"format": number, "known": sorted(formats)},
            )
        try:
            return cls.model_validate(dict(message))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            raise SenderFault(
                Reason.MALFORMED, f"This {what} is wrong at {field or 'its top'}: {first['msg']}.", facts={"field": field}
            ) from error

    @classmethod
    def from_bytes(cls, body: bytes, *, what: str, formats: frozenset[int], max_bytes: int) -> Self:
        """Parse bytes; see ``from_map`` and ``packing.unpack`` for the errors."""
        return cls.from_map(unpack(body, what=what, max_bytes=max_bytes), what=what, formats=formats)
