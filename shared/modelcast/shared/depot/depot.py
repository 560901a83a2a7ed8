"""A depot: the shared directory, looked at before it is used, and the parts that are read and written in it.

Decides what makes a directory a depot and which one is refused: missing, foreign, of a newer format, or one that others may
write. Publishers, instances, operators and a server that serves it all go through here. Imports the other modules of this room.
"""

from pathlib import Path

from modelcast.shared.depot.chunks import ChunkIndex, ChunkShelf
from modelcast.shared.depot.disk import Disk, SharedDisk
from modelcast.shared.depot.layout import (
    DEAD_LETTERS,
    MARKER,
    MARKER_PREFIX,
    MARKER_TEXT,
    MODELS,
    REPORTS,
    ChannelPlaces,
    InstancePlaces,
    ModelPlaces,
    is_name,
)
from modelcast.shared.depot.letters import LetterBox
from modelcast.shared.depot.modellocks import ModelLocks
from modelcast.shared.depot.numbered import NumberedLog
from modelcast.shared.errors import DepotUnusable
from modelcast.shared.fs import TEMPORARY_PREFIX
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.locks import HostLock
from modelcast.shared.road import Target

RECORD_BYTES = 16 * 1024 * 1024
"""Largest record of a register that is read: a manifest with all its digests, twice, is smaller."""


class Depot:
    """One shared directory; nothing is looked at before ``enter``.

    Args:
        root: The directory.
        allow_shared_writes: Whether other users may write it, too.
        disk: The disk; faults are injected here.
    """

    def __init__(self, root: Path, *, allow_shared_writes: bool = False, disk: Disk | None = None) -> None:
        self.root, self._shares = root, allow_shared_writes
        self.disk = disk or (SharedDisk() if allow_shared_writes else Disk())

    def enter(self, *, founds: bool = True) -> None:
        """Look at the directory.

        Args:
            founds: Whether an empty directory becomes a depot: for publishers and servers. Whoever else enters refuses it; on an
                empty folder something may not be mounted.

        Raises:
            DepotUnusable: It is missing, foreign, of a newer format, or others may write it.
            StorageFault: It cannot be read or written.
        """
        if not self.disk.is_folder(self.root):
            raise DepotUnusable(
                f"There is no directory {self.root}.", hint=f"Is it mounted? Otherwise create it: mkdir -p -m 700 {self.root}",
                facts={"path": str(self.root)},
            )
        self.check_alone(self.root)
        marker = self.disk.read_if_there(self.root / MARKER, 64)
        if marker is None:
            self._found(founds=founds)
        elif marker != MARKER_TEXT:
            newer = marker.startswith(MARKER_PREFIX)
            raise DepotUnusable(
                f"{self.root} is a depot of another format." if newer else f"{self.root}/{MARKER} is no marker of a depot.",
                hint="Upgrade modelcast here." if newer else "Name the directory that belongs to modelcast.",
                facts={"path": str(self.root)},
            )
        self._make(REPORTS, DEAD_LETTERS)

    def _make(self, *folders: str) -> None:
        self.refuse_links(*folders)
        for folder in folders:
            self.disk.make_folder(self.root / folder)

    def refuse_links(self, *folders: str) -> None:
        """Refuse folders that are links, or lie below one: who shares the directory could lead us out of it."""
        for folder in folders:
            path = self.root
            for part in folder.split("/"):
                path /= part
                if self.disk.is_link(path):
                    raise DepotUnusable(
                        f"{path} is a symbolic link.", hint="Put the folder itself there.", facts={"path": str(path)}
                    )

    def check_alone(self, path: Path) -> None:
        """Refuse a folder that other users may write, unless that is allowed."""
        if self._shares or not self.disk.is_folder(path) or self.disk.is_owners_alone(path):
            return
        raise DepotUnusable(
            f"Other users may write to {path}.",
            hint=f"Run: chmod go-w {path} (and chown it), or add ?allow_shared_writes=yes to the address if they are to.",
            facts={"path": str(path)},
        )

    def _found(self, *, founds: bool) -> None:
        foreign = [name for name in self.disk.names(self.root) if not name.startswith(".") and name != "lost+found"]
        if foreign and self.disk.read_if_there(self.root / MARKER, 64) is None:   # another one may have made it at this moment
            raise DepotUnusable(
                f"{self.root} holds other things ({', '.join(foreign[:3])}) and is no depot.",
                hint="Name an empty directory of its own.", facts={"path": str(self.root), "found": foreign[:10]},
            )
        if not foreign and not founds:
            raise DepotUnusable(
                f"{self.root} is empty and no depot yet.", hint="Is it mounted? Otherwise wait until something is published there.",
                facts={"path": str(self.root)},
            )
        if not foreign:
            self.disk.write_whole(self.root / MARKER, MARKER_TEXT)

    def has_model(self, model: str) -> bool:
        """Whether anybody has published the model here."""
        return self.disk.size_of(self.root / ModelPlaces(model).index) is not None

    def models(self) -> list[str]:
        """Return the names of all models that have been published or waited for here."""
        return self._names(MODELS)

    def channels(self, model: str) -> list[str]:
        """Return the names of a model's channels."""
        return self._names(ModelPlaces(model).channels)

    def _names(self, folder: str) -> list[str]:
        path = self.root / folder
        if self.disk.is_link(path):
            return []
        return [name for name in self.disk.names(path) if is_name(name) and not self.disk.is_link(path / name)]

    def locks(self, model: str) -> ModelLocks:
        """Return the locks of a model's publishers, not taken yet; whoever changes what publishers write holds both."""
        places, mode = ModelPlaces(model), self.disk.FILE_MODE
        return ModelLocks(HostLock(self.root / places.publishing, mode=mode), HostLock(self.root / places.ordering, mode=mode))

    def make_model(self, model: str) -> ModelPlaces:
        """Make a model's folders and return where they are."""
        places = ModelPlaces(model)
        self._make(places.incoming, places.chunks, places.register)
        self.check_alone(self.root / places.folder)
        return places

    def make_channel(self, model: str, channel: str) -> ChannelPlaces:
        """Make a channel's folders and return where they are."""
        places = ChannelPlaces(model, channel)
        self._make(places.orders, places.announcements)
        self.check_alone(self.root / ModelPlaces(model).folder)
        return places

    def make_instance(self, target: Target) -> InstancePlaces:
        """Make an instance's folders and return where they are."""
        places = InstancePlaces(target.model, target.channel, target.instance)
        self._make(places.incoming, places.replays)
        return places

    def replays_of(self, target: Target) -> Path | None:
        """Return where orders are sent back to an instance, or None if it never came, or its modelcast does not look there."""
        folder = InstancePlaces(target.model, target.channel, target.instance).replays
        self.refuse_links(folder)
        return self.root / folder if self.disk.is_folder(self.root / folder) else None

    def register(self, model: str) -> NumberedLog:
        """Return a model's register."""
        places = ModelPlaces(model)
        return NumberedLog(self.disk, self.root / places.register, self.root / places.incoming, max_bytes=RECORD_BYTES)

    def orders(self, model: str, channel: str) -> NumberedLog:
        """Return a channel's orders."""
        return self._messages(model, ChannelPlaces(model, channel).orders)

    def announcements(self, model: str, channel: str) -> NumberedLog:
        """Return a channel's announcements; only the newest is there."""
        return self._messages(model, ChannelPlaces(model, channel).announcements)

    def _messages(self, model: str, folder: str) -> NumberedLog:
        incoming = self.root / ModelPlaces(model).incoming
        return NumberedLog(self.disk, self.root / folder, incoming, max_bytes=DEFAULT_LIMITS.order_bytes)

    def shelf(self, model: str) -> ChunkShelf:
        """Return a model's chunks."""
        return ChunkShelf(self.disk, self.root, ModelPlaces(model))

    def index(self, model: str) -> ChunkIndex:
        """Return a model's index, not opened for appending yet."""
        return ChunkIndex(self.disk, self.root / ModelPlaces(model).index)

    def letters(self) -> LetterBox:
        """Return the dead letters."""
        return LetterBox(self.disk, self.root / DEAD_LETTERS)

    def sweep(self, folder: str) -> None:
        """Remove what somebody who was killed was writing; only who holds the lock beside it may."""
        for name in self.disk.names(self.root / folder):
            if name.startswith(TEMPORARY_PREFIX):
                self.disk.remove(self.root / folder / name)
