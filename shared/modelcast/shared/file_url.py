"""The address of a depot: ``file:///srv/models`` and its options, parsed once. Pure.

Decides which options there are. Imports the errors.
"""

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from modelcast.shared.errors import MisuseError

LEAST_POLL_SECONDS, MOST_POLL_SECONDS = 0.01, 3600.0


@dataclass(frozen=True, slots=True)
class FileUrl:
    """A ``file://`` URL.

    Attributes:
        path: The depot's directory, absolute.
        poll_seconds: How often it is looked at; the option ``poll``. None: as often as the file system needs.
        allow_shared_writes: Whether other users may write it; the option ``allow_shared_writes=yes``.
    """

    path: str
    poll_seconds: float | None = None
    allow_shared_writes: bool = False

    @classmethod
    def parse(cls, text: str) -> "FileUrl":
        """Take a URL apart.

        Raises:
            MisuseError: It is no ``file://`` URL of a directory of this host, or an option cannot be read.
        """
        try:
            parts = urlsplit(text)
            options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        except ValueError:
            parts, options = urlsplit(""), {}
        path = unquote(parts.path).rstrip("/")
        is_here = parts.scheme == "file" and parts.netloc in {"", "localhost"} and path.startswith("/")
        if not is_here or "\0" in path or parts.fragment:
            raise MisuseError(
                f"{text[:200]!r} is no address of a directory.",
                hint="Write three slashes and the whole path, such as file:///srv/models; '#', '?' and '%' as %23, %3F and %25.",
            )
        unknown = sorted(set(options) - {"poll", "allow_shared_writes"})
        if unknown:
            raise MisuseError(f"{unknown[0]!r} is no option of a file:// address.", hint="There are poll and allow_shared_writes.")
        return cls(path, _seconds(options.get("poll")), _is_yes(options.get("allow_shared_writes", "no")))


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not LEAST_POLL_SECONDS <= seconds <= MOST_POLL_SECONDS:
        raise MisuseError(f"The option 'poll={text[:40]}' is no pause.", hint="Write seconds, 0.01 to 3600, such as ?poll=0.5")
    return seconds


def _is_yes(text: str) -> bool:
    if text not in {"yes", "no"}:
        raise MisuseError(f"The option 'allow_shared_writes={text[:40]}' is neither yes nor no.")
    return text == "yes"
