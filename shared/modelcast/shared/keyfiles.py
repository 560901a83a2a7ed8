"""Keys on disk: PEM files and key rings in TOML.

Decides what a key file must look like and who may read a private one. Imports the ``cryptography`` library and signing.
"""

import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from modelcast.shared.errors import InvalidKey, MissingPath, MisuseError
from modelcast.shared.signing import KeyRing, SigningKey, TrustedKey

MAX_KEY_FILE_BYTES = 64 * 1024
"""A PEM key has about 120 bytes; a key ring some hundred lines. A larger file is something else."""


def generate(path: Path) -> tuple[Path, Path]:
    """Write a new key pair: ``<path>.key`` (private, readable by its owner only) and ``<path>.pub``.

    Returns:
        The two paths.

    Raises:
        MisuseError: One of the files exists; keys are never overwritten.
        MissingPath: The folder cannot be written.
    """
    private = Ed25519PrivateKey.generate()
    key_path, public_path = path.with_name(path.name + ".key"), path.with_name(path.name + ".pub")
    contents = {
        key_path: (0o600, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())),
        public_path: (0o644, private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
    }
    for existing in filter(Path.exists, contents):
        raise MisuseError(f"{existing} exists already.", hint="Choose another name; a key is never overwritten.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for target, (mode, pem) in contents.items():
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
    except OSError as error:
        raise MissingPath(f"Cannot write {error.filename}: {error.strerror}.") from error
    return key_path, public_path


def load_signing_key(path: str | Path) -> SigningKey:
    """Read a private key.

    Raises:
        MissingPath: There is no such file.
        InvalidKey: It holds no unencrypted Ed25519 private key, or others than its owner may read it.
    """
    path = Path(path)
    pem = _read(path)
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        hint = "This is the public half; the private one ends in .key." if b"PUBLIC KEY" in pem else _HINT
        raise InvalidKey(f"{path} is no private key that can be read.", hint=hint) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise InvalidKey(f"{path} is no Ed25519 key.", hint=_HINT)
    if path.stat().st_mode & 0o077:
        raise InvalidKey(f"{path} can be read by others than its owner.", hint=f"Run: chmod 600 {path}")
    return SigningKey(private)


def load_trusted_keys(path: str | Path) -> list[TrustedKey]:
    """Read one public key (PEM), or a key ring (``.toml``) that says what each key may sign.

    A key ring::

        [[key]]
        file = "training.pub"        # relative to the key ring
        models = ["fraud"]           # whose manifests it may sign; left out: all
        channels = []                # whose orders it may sign; left out: all

    Raises:
        MissingPath: There is no such file.
        InvalidKey: It is no public key and no key ring.
    """
    path = Path(path)
    content = _read(path)
    if path.suffix == ".toml":
        return _load_ring(path, content)
    if b"PRIVATE KEY" in content:
        raise InvalidKey(f"{path} is a private key.", hint="An application needs the public half only, which ends in .pub.")
    try:
        public = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidKey(f"{path} is no public key.", hint=_HINT) from error
    if not isinstance(public, Ed25519PublicKey):
        raise InvalidKey(f"{path} is no Ed25519 key.", hint=_HINT)
    return [TrustedKey(public)]


def load_key_ring(trust: Iterable[str | Path | TrustedKey]) -> KeyRing:
    """Build a key ring from paths and keys; see ``load_trusted_keys`` for the errors."""
    keys: list[TrustedKey] = []
    for entry in trust:
        keys.extend([entry] if isinstance(entry, TrustedKey) else load_trusted_keys(entry))
    return KeyRing(keys)


def public_pem(key: TrustedKey) -> str:
    """Return a public key as PEM text."""
    return key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


_HINT = "Make a pair with: modelcast keys generate keys/training"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise MissingPath(f"Cannot read the key {path}: {error.strerror}.", hint=_HINT) from error
    if len(content) > MAX_KEY_FILE_BYTES:
        raise InvalidKey(f"{path} is too large to be a key.", hint=_HINT)
    return content


def _load_ring(path: Path, content: bytes) -> list[TrustedKey]:
    try:
        entries = tomllib.loads(content.decode())["key"]
        keys: list[TrustedKey] = []
        for entry in entries:
            file = path.parent / str(entry["file"])
            if file.suffix == ".toml":
                raise TypeError(f"{file.name} is a key ring, and a ring names keys only")   # it could name itself
            public = load_trusted_keys(file)[0].public
            keys.append(TrustedKey(public, _names(entry, "models"), _names(entry, "channels")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, IndexError) as error:
        raise InvalidKey(
            f"{path} is no key ring: {error}.", hint='It needs [[key]] tables with file = "name.pub".'
        ) from error
    return keys


def _names(entry: dict[str, Any], field: str) -> tuple[str, ...]:
    names = entry.get(field, ["*"])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{field} must be a list of names")
    return tuple(names)
