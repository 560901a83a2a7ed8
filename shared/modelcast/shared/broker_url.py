"""The address of a broker: parsed once, and never shown with its password.

Decides which options of the URL are ours (how chunks are read) and keeps them from the AMQP library. Imports the errors.
"""

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from modelcast.shared.errors import MisuseError

CHUNK_SOURCES = ("auto", "stream", "amqp")
"""How chunks may be read: by the stream protocol where it can be had, by it alone, or by AMQP alone."""
AMQP_PORTS, STREAM_PORTS = {"amqp": 5672, "amqps": 5671}, {"amqp": 5552, "amqps": 5551}
"""RabbitMQ's own."""


@dataclass(frozen=True, slots=True, repr=False)
class BrokerUrl:
    """An ``amqp://`` or ``amqps://`` URL.

    Attributes:
        text: The URL with its password, without our options; for the client library only.
        user: User name, ``guest`` when none is given.
        host: Host name.
        port: TCP port.
        vhost: Virtual host.
        chunks: How chunks are read, one of ``CHUNK_SOURCES``; the option ``chunks``.
        stream_port: Port of the stream protocol; the option ``stream_port``. Without it RabbitMQ's own beside RabbitMQ's own AMQP
            port; None beside another, since another broker may have that port, unless ``chunks`` is ``stream``.
    """

    text: str
    user: str
    host: str
    port: int
    vhost: str
    chunks: str = "auto"
    stream_port: int | None = None

    @classmethod
    def parse(cls, text: str) -> "BrokerUrl":
        """Take a URL apart.

        Raises:
            MisuseError: It is no ``amqp://`` or ``amqps://`` URL, or one of our options cannot be read.
        """
        try:
            parts = urlsplit(text)
            port = parts.port or AMQP_PORTS.get(parts.scheme, 0)
        except ValueError:
            parts, port = urlsplit(""), 0
        if parts.scheme not in {"amqp", "amqps"} or not parts.hostname:
            raise MisuseError(
                "This is no address of a broker.",
                hint="Write amqp://user:password@host:5672/vhost, or amqps:// for TLS; %2F is the vhost '/'.",
            )
        vhost = unquote(parts.path[1:]) if len(parts.path) > 1 else "/"
        if parts.username is not None and parts.password is None:   # pika wants a password wherever there is a user
            account, _, rest = parts.netloc.rpartition("@")
            text = parts._replace(netloc=f"{account}:@{rest}").geturl()
        text, chunks, stream_port = _our_options(text)
        if stream_port is None and (chunks == "stream" or port == AMQP_PORTS[parts.scheme]):
            stream_port = STREAM_PORTS[parts.scheme]
        return cls(text, unquote(parts.username or "guest"), parts.hostname, port, vhost, chunks, stream_port)

    @property
    def is_tls(self) -> bool:
        """Whether the scheme asks for TLS."""
        return self.text.startswith("amqps")

    @property
    def password(self) -> str:
        """The password, to log in with and nothing else; ``guest`` for no user, as the client library has it."""
        parts = urlsplit(self.text)
        return unquote(parts.password or "") if parts.username else "guest"

    def sets(self, option: str) -> bool:
        """Whether the URL's query sets ``option``, so that the default must not."""
        return self.option(option) is not None

    def option(self, name: str) -> str | None:
        """Return what the URL's query says of an option of the client library, or None."""
        return parse_qs(urlsplit(self.text).query).get(name, [None])[0]

    def __str__(self) -> str:
        return f"{urlsplit(self.text).scheme}://{self.user}:***@{self.host}:{self.port}/{'' if self.vhost == '/' else self.vhost}"

    __repr__ = __str__


def _our_options(text: str) -> tuple[str, str, int | None]:
    """Return the URL without our options, and what they say."""
    parts = urlsplit(text)
    said: dict[str, str] = {}
    others: list[str] = []
    for option in parts.query.split("&"):
        name, _, value = option.partition("=")
        if name in {"chunks", "stream_port"}:
            said[name] = value
        else:
            others.append(option)
    if not said:
        return text, "auto", None
    chunks, port = said.get("chunks", "auto"), said.get("stream_port")
    if chunks not in CHUNK_SOURCES:
        raise MisuseError("The option 'chunks' in the broker's URL is none of " + ", ".join(CHUNK_SOURCES) + ".")
    if port is not None and not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65_536):
        raise MisuseError("The option 'stream_port' in the broker's URL is no port.", hint="Write it as in ?stream_port=5552")
    return parts._replace(query="&".join(others)).geturl(), chunks, None if port is None else int(port)
