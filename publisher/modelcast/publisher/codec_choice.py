"""Which chunks are sent as zstd frames: those of files where a look at the data shows that it pays.

Decides once for each file, when its first chunk is about to be sent; never where the caller wants none packed. Imports the
draft and the compression.
"""

from modelcast.publisher.build import Draft, Place
from modelcast.shared.compression import CODEC, PROBE_BYTES, PROBES, pack_chunk, pays

PLAIN = "none"
MIN_FILE_BYTES = PROBE_BYTES
"""Less is sent sooner than it is looked at."""


class CodecChoice:
    """Packs chunks or leaves them as they are.

    Args:
        draft: What is published.
    """

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._pays: dict[int, bool] = {}

    def encode(self, place: Place, content: bytes | memoryview) -> tuple[str, bytes | memoryview]:
        """Return the codec's name and what is sent for a chunk."""
        if self._draft.pack and self._file_pays(place.file):
            packed = pack_chunk(content)
            if packed is not None:
                return CODEC, packed
        return PLAIN, content

    def _file_pays(self, index: int) -> bool:
        if index not in self._pays:
            file = self._draft.files[index]
            step = max(PROBE_BYTES, file.size // PROBES)
            last = file.size - PROBE_BYTES
            self._pays[index] = file.size >= MIN_FILE_BYTES and pays(
                file.read(offset, PROBE_BYTES) for offset in range(0, last + 1, step)
            )
        return self._pays[index]
