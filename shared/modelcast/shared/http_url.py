"""The address of a server of releases: ``https://models.example`` and its options, parsed once. Pure.

Decides which options there are, and that no secret stands in an address. Imports the errors.
"""

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from modelcast.shared.errors import MisuseError

PORTS = {"http": 80, "https": 443}
MOST_CONNECTIONS = 8
OPTIONS = ("token_file", "ca_file", "connections", "allow_plain")


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """An ``http://`` or ``https://`` URL.

    Attributes:
        scheme: ``http`` or ``https``.
        host: Host name or address.
        port: TCP port.
        prefix: What stands before ``/v1``, without a slash at its end; for a server behind a proxy.
        token_file: File that holds the token; the option ``token_file``.
        ca_file: File of the authorities whose certificates are trusted, instead of the system's; the option ``ca_file``.
        connections: Over how many connections chunks are fetched; the option ``connections``.
        allow_plain: Whether a token may travel without TLS to another host; the option ``allow_plain=yes``.
    """

    scheme: str
    host: str
    port: int
    prefix: str = ""
    token_file: str | None = None
    ca_file: str | None = None
    connections: int = 3
    allow_plain: bool = False

    @classmethod
    def parse(cls, text: str) -> "HttpUrl":
        """Take a URL apart.

        Raises:
            MisuseError: It is no such URL, holds a secret, or an option cannot be read.
        """
        try:
            parts = urlsplit(text)
            port = parts.port or PORTS.get(parts.scheme, 0)
            options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        except ValueError:
            parts, port, options = urlsplit(""), 0, {}
        if parts.scheme not in PORTS or not parts.hostname or parts.fragment or not parts.path.isascii() or " " in parts.path:
            raise MisuseError("This is no address of a server.", hint="Write https://models.example, or http://127.0.0.1:8080")
        if "@" in parts.netloc or "token" in options:
            raise MisuseError(
                "A secret stands in the address, where others may see it.",
                hint="Set MODELCAST_TOKEN, or name a file that holds the token: https://models.example?token_file=/etc/modelcast/token",
            )
        unknown = sorted(set(options) - set(OPTIONS))
        if unknown:
            raise MisuseError(
                f"{unknown[0][:40]!r} is no option of an address of a server.", hint=f"There are {', '.join(OPTIONS)}."
            )
        return cls(
            parts.scheme, parts.hostname, port, parts.path.rstrip("/"), options.get("token_file"), options.get("ca_file"),
            _connections(options.get("connections", "3")), _is_yes(options.get("allow_plain", "no")),
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"

    @property
    def is_tls(self) -> bool:
        """Whether the scheme asks for TLS."""
        return self.scheme == "https"

    @property
    def is_here(self) -> bool:
        """Whether the server is on this host, as far as its name tells."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")


def _connections(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_CONNECTIONS:
        raise MisuseError(f"The option 'connections={text[:40]}' is no number of connections.", hint=f"Write 1 to {MOST_CONNECTIONS}.")
    return int(text)


def _is_yes(text: str) -> bool:
    if text not in {"yes", "no"}:
        raise MisuseError(f"The option 'allow_plain={text[:40]}' is neither yes nor no.")
    return text == "yes"
