"""What a depot holds, for readers: its models, releases, channels and the files of chunks.

Decides how a version is found, that a register is read again only when it has grown, and where the bytes of an artifact's file come
from. Blocking: called in threads, but for the look at a few chunks. Imports the depot and the catalog.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelcast.publisher.catalog import Catalog, KnownRelease
from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.layout import ModelPlaces
from modelcast.shared.errors import NotFound, SenderFault
from modelcast.shared.manifest import FileEntry
from modelcast.shared.names import Version
from modelcast.shared.order import Order, OrderMessage
from modelcast.shared.signing import Envelope

LISTED = 20
"""So many names stand in the hint of an error."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a file of chunks.

    Attributes:
        path: The file.
        is_packed: Whether it is a zstd frame.
        start: First byte, of the chunk itself.
        length: How many.
    """

    path: Path
    is_packed: bool
    start: int
    length: int


class Shelves:
    """What is there to be read.

    Args:
        depot: The depot.
    """

    def __init__(self, depot: Depot) -> None:
        self._depot = depot
        self._catalogs: dict[str, tuple[object, Catalog]] = {}

    def models(self) -> list[str]:
        """Return the models that somebody has published."""
        return [model for model in self._depot.models() if self._depot.has_model(model)]

    def catalog(self, model: str) -> Catalog:
        """Return what a model's register says.

        Raises:
            NotFound: Nobody has published the model.
        """
        if not self._depot.has_model(model):
            raise NotFound(f"There is no model {model}.")
        register = self._depot.register(model)
        numbers = register.numbers()
        disk = self._depot.disk   # a folder that is made anew may get the number of the one that was removed, but not its time
        stamp = (disk.identity_of(register.folder), disk.changed_ns(register.folder), tuple(numbers[-1:]), len(numbers))
        kept = self._catalogs.get(model)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        catalog = Catalog(record for number in numbers if (record := register.read(number)) is not None)
        self._catalogs[model] = (stamp, catalog)
        return catalog

    def releases(self, model: str) -> list[KnownRelease]:
        """Return a model's releases, lowest version first, the latest record of each version."""
        found = {known.manifest.version: known for known in self.catalog(model).releases}
        return sorted(found.values(), key=lambda known: Version(known.manifest.version).parsed)

    def release(self, model: str, name: str) -> KnownRelease:
        """Return one release, by its version or id.

        Raises:
            NotFound: There is none; the hint lists those that there are.
        """
        catalog = self.catalog(model)
        by_id = next((known for known in catalog.releases if known.release == name), None)
        found = by_id or catalog.release(name)
        if found is None:
            versions = [known.manifest.version for known in self.releases(model)]
            detail = f"There is no release {name[:80]!r} of {model}."
            raise NotFound(detail, hint=listed(versions), facts={"versions": versions[-LISTED:]})
        return found

    def file(self, known: KnownRelease, path: str) -> FileEntry:
        """Return one file of a release.

        Raises:
            NotFound: There is none; the hint lists those that there are.
        """
        for entry in known.manifest.artifact.files:
            if entry.path == path:
                return entry
        paths = [entry.path for entry in known.manifest.artifact.files]
        raise NotFound(f"There is no file {path[:200]!r} in {known.manifest.model} {known.manifest.version}.", hint=listed(paths))

    def chunk(self, model: str, digest: str, codec: str | None = None) -> tuple[Path, bool] | None:
        """Return the file of a chunk and whether it is packed, or None when it is not there."""
        places = ModelPlaces(model)
        for is_packed in (False, True):
            path = self._depot.root / places.chunk(digest, is_packed=is_packed)
            if codec != ("none" if is_packed else "zstd") and self._depot.disk.size_of(path) is not None:
                return path, is_packed
        return None

    def pieces(self, model: str, entry: FileEntry, start: int, length: int) -> list[Piece]:
        """Return where some bytes of an artifact's file come from.

        Raises:
            NotFound: A chunk is gone.
        """
        found: list[Piece] = []
        at, end = 0, start + length
        for number, size in enumerate(entry.chunk_sizes):
            first, last = max(start, at), min(end, at + size)
            if first < last:
                digest = entry.chunk_digests[32 * number : 32 * number + 32].hex()
                chunk = self.chunk(model, digest)
                if chunk is None:
                    raise NotFound(f"The bytes of {entry.path} are gone.", hint="The release was pruned; publish it again.")
                found.append(Piece(*chunk, first - at, last - first))
            at += size
        return found

    def channels(self, model: str) -> dict[str, Order | None]:
        """Return the newest order of each channel, None where there is none; nobody has looked at its signature."""
        if not self._depot.has_model(model):
            raise NotFound(f"There is no model {model}.")
        return {channel: self._newest(model, channel) for channel in self._depot.channels(model)}

    def _newest(self, model: str, channel: str) -> Order | None:
        log = self._depot.orders(model, channel)
        orders = (parsed(body) for number in reversed(log.numbers()) if (body := log.read(number)) is not None)
        return next((order for order in orders if order is not None), None)


def parsed(body: bytes) -> Order | None:
    """Return the order in a message, or None if it is none; nobody has looked at its signature."""
    try:
        payload = Envelope.from_bytes(OrderMessage.from_bytes(body).order, what="order").payload
        return Order.from_bytes(payload, what="order", formats=frozenset({1}), max_bytes=len(payload))
    except SenderFault:
        return None


def listed(names: Sequence[str] | Iterable[str]) -> str:
    """Return a hint that lists what there is."""
    shown = list(names)
    if not shown:
        return "There is none at all."
    more = f" and {len(shown) - LISTED} more" if len(shown) > LISTED else ""
    return f"There are: {', '.join(shown[-LISTED:])}{more}."
