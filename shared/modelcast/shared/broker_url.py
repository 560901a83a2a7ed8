"""The address of a broker: parsed once, and never shown with its password. Imports the errors."""

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from modelcast.shared.errors import MisuseError


@dataclass(frozen=True, slots=True, repr=False)
class BrokerUrl:
    """An ``amqp://`` or ``amqps://`` URL.

    Attributes:
        text: The URL with its password; for the client library only.
        user: User name, ``guest`` when none is given.
        host: Host name.
        port: TCP port.
        vhost: Virtual host.
    """

    text: str
    user: str
    host: str
    port: int
    vhost: str

    @classmethod
    def parse(cls, text: str) -> "BrokerUrl":
        """Take a URL apart.

        Raises:
            MisuseError: It is no ``amqp://`` or ``amqps://`` URL.
        """
        try:
            parts = urlsplit(text)
            port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
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
        return cls(text, unquote(parts.username or "guest"), parts.hostname, port, vhost)

    def sets(self, option: str) -> bool:
        """Whether the URL's query sets ``option``, so that the default must not."""
        return option in parse_qs(urlsplit(self.text).query)

    def __str__(self) -> str:
        return f"{urlsplit(self.text).scheme}://{self.user}:***@{self.host}:{self.port}/{'' if self.vhost == '/' else self.vhost}"

    __repr__ = __str__
