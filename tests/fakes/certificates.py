"""A server's certificate of its own making, for tests of TLS."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def server_context(folder: Path) -> ssl.SSLContext:
    """Return a server's TLS for 127.0.0.1 and for ``broker``, whose certificate is in ``folder``/cert.pem."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=test")
    now = datetime.now(UTC)
    cert = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("broker")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    (folder / "cert.pem").write_bytes(cert.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


class Authority:
    """An authority that vouches for servers at 127.0.0.1.

    Args:
        folder: Where its certificate and those of the servers are written; made here.

    Attributes:
        path: Its own certificate.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self.path = folder, folder / "authority.pem"
        self._key, self._name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string(f"CN={folder.name}")
        now = datetime.now(UTC)
        cert = (
            x509.CertificateBuilder(
                self._name, self._name, self._key.public_key(), x509.random_serial_number(), now - timedelta(days=9), now + timedelta(days=9)
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, SHA256())
        )
        self.path.write_bytes(cert.public_bytes(Encoding.PEM))

    def server(self, *, days: float = 1) -> ssl.SSLContext:
        """Return a server's TLS with a new key and a certificate that is good for so many days; negative ones are over."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        cert = (
            x509.CertificateBuilder(
                self._name, x509.Name.from_rfc4514_string("CN=server"), key.public_key(), x509.random_serial_number(),
                now - timedelta(days=5), now + timedelta(days=days),
            )
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
            .sign(self._key, SHA256())
        )
        name = self._folder / f"{cert.serial_number}.pem"
        name.write_bytes(
            cert.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(name)
        return context
