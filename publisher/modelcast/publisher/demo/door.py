"""A door on the way from an instance to a shared directory: what ``gate`` is for a broker.

Decides what closed means: the instance's own name for the directory leads nowhere, as where something is not mounted. Imports the
gate and the directory's address.
"""

from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

from modelcast.publisher.demo.gate import Gate
from modelcast.shared.file_url import FileUrl


class Way(Protocol):
    """A way to the road that can be opened and closed."""

    @property
    def url(self) -> str:
        """The road's address by this way."""
        ...

    @property
    def passed(self) -> int:
        """How many connections could come through by now."""
        ...

    def open(self) -> None:
        """Let connections through."""
        ...

    def close(self) -> None:
        """Close it for good."""
        ...


class Door:
    """A door to a shared directory, closed until ``open`` is called.

    Args:
        url: Address of the directory, ``file://``.
        folder: Where the instance's name for the directory is made.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._there, self._name = Path(FileUrl.parse(url).path), folder / "models"
        self._name.unlink(missing_ok=True)
        self.url = urlsplit(url)._replace(path=quote(str(self._name))).geturl()
        self.passed = 0

    def open(self) -> None:
        """Let the name lead to the directory."""
        self._name.symlink_to(self._there, target_is_directory=True)
        self.passed = 1

    def close(self) -> None:
        """Let it lead nowhere. A second call does nothing."""
        self._name.unlink(missing_ok=True)


def way_to(url: str, folder: Path) -> Way:
    """Return a closed way to a road; ``folder`` is the instance's own."""
    return Door(url, folder) if url.startswith("file:") else Gate(url)
