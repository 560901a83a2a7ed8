"""Bearer tokens: who may do what, as text, hashed, and in files.

Decides the form of a token, what a scope allows and how it is compared. A secret is 256 random bits, so one SHA-256 is right: a slow
hash such as bcrypt protects what people choose and others could guess, and would cost each request 100 ms. Imports disk and names.
"""

import json
import os
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path

from modelcast.shared.depot.disk import Disk, temporary_name
from modelcast.shared.errors import DepotUnusable, HostFault, MisuseError, NotFound
from modelcast.shared.names import check_name

FORMAT = 1
MAX_BYTES = 64 * 1024
CLOCK_TICK_NS = 1_000_000_000
_TOKEN = re.compile(r"mct_([0-9a-f]{12})_([0-9a-f]{64})")
_ID = re.compile(r"[0-9a-f]{12}")
_NOBODYS_HASH = "0" * 64


class Scope(StrEnum):
    """What a token may do."""

    PUBLISH = "publish"
    PROMOTE = "promote"
    FETCH = "fetch"
    REPORT = "report"
    OPERATE = "operate"


SCOPES = {
    Scope.PUBLISH: "bring new releases: chunks and the register's records of them",
    Scope.PROMOTE: "order a channel to run a release",
    Scope.FETCH: "read models, releases, chunks and channels, and be an instance that gets orders",
    Scope.REPORT: "settle orders and send reports, as an instance does",
    Scope.OPERATE: "read reports, read, send back and remove dead letters, and retire models",
}
"""What each scope allows, for people."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One scope, limited or not.

    Attributes:
        scope: What may be done.
        model: To which model; ``*`` is any.
        channel: In which channel; ``*`` is any.
    """

    scope: Scope
    model: str = "*"
    channel: str = "*"

    @classmethod
    def parse(cls, text: str) -> "Grant":
        """Read ``fetch``, ``fetch:fraud`` or ``promote:fraud/staging``.

        Raises:
            MisuseError: It is none of these.
        """
        name, _, reach = text.partition(":")
        model, _, channel = reach.partition("/")
        if name not in set(Scope):
            raise MisuseError(
                f"{text[:80]!r} is no scope.",
                hint=f"Write one of {', '.join(Scope)}, and where it reaches: promote, promote:fraud or promote:fraud/staging.",
            )
        if model not in {"", "*"}:
            check_name("model", model)
        if channel not in {"", "*"}:
            check_name("channel", channel)
        return cls(Scope(name), model or "*", channel or "*")

    def __str__(self) -> str:
        if self.channel != "*":
            return f"{self.scope}:{self.model}/{self.channel}"
        return f"{self.scope}:{self.model}" if self.model != "*" else str(self.scope)

    def reaches(self, model: str | None, channel: str | None) -> bool:
        """Whether it holds for a model and a channel; None asks for something that is of no single one."""
        return (model is None or self.model in {"*", model}) and (channel is None or self.channel in {"*", channel})


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token: all but its secret.

    Attributes:
        id: Twelve hexadecimal digits; not secret, stands in logs.
        name: What it is for, for people.
        hash: SHA-256 of the secret, hexadecimal.
        grants: What it may do.
        created_ms: When it was made, milliseconds since 1970 UTC.
        expires_ms: After this it is none; None never.
    """

    id: str
    name: str
    hash: str
    grants: tuple[Grant, ...]
    created_ms: int
    expires_ms: int | None = None

    def allows(self, scope: Scope, model: str | None = None, channel: str | None = None) -> bool:
        """Whether one of its grants reaches so far."""
        return any(grant.scope == scope and grant.reaches(model, channel) for grant in self.grants)

    def has_expired(self, now_ms: int) -> bool:
        """Whether its time is over."""
        return self.expires_ms is not None and now_ms >= self.expires_ms

    def to_bytes(self) -> bytes:
        """Return the content of its file."""
        return json.dumps({"format": FORMAT, **asdict(self), "grants": [str(grant) for grant in self.grants]}, indent=1).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Token | None":
        """Return the token of a file, or None if it is none."""
        try:
            fields = json.loads(content)
            if fields["format"] != FORMAT or not _ID.fullmatch(fields["id"]):
                return None
            expires = fields["expires_ms"]
            return cls(
                fields["id"], str(fields["name"]), str(fields["hash"]), tuple(map(Grant.parse, fields["grants"])),
                int(fields["created_ms"]), None if expires is None else int(expires),
            )
        except (ValueError, KeyError, TypeError, MisuseError):
            return None


ANYBODY = Token("none", "anybody on this host", _NOBODYS_HASH, tuple(map(Grant, Scope)), 0)
"""Who comes without a token where none is asked for."""


def made(name: str, grants: Sequence[Grant], now_ms: int, expires_ms: int | None) -> tuple[Token, str]:
    """Return a new token and the text that its holder sends; the text is to be found nowhere afterwards."""
    identity, secret = secrets.token_hex(6), secrets.token_hex(32)
    token = Token(identity, name, sha256(secret.encode()).hexdigest(), tuple(grants), now_ms, expires_ms)
    return token, f"mct_{identity}_{secret}"


def matching(text: str, known: dict[str, Token], now_ms: int) -> Token | None:
    """Return the token that ``text`` is, or None; takes as long for one that is unknown as for one that is wrong."""
    found = _TOKEN.fullmatch(text)
    identity, secret = found.groups() if found else ("", "")
    token = known.get(identity)
    is_same = compare_digest(sha256(secret.encode()).hexdigest(), token.hash if token else _NOBODYS_HASH)
    return token if token is not None and is_same and not token.has_expired(now_ms) else None


class TokenBook:
    """The tokens of a depot, a file each. Only the depot's owner may write them, also where others may write the rest.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self._disk, self._folder = Disk(), folder
        self._known: dict[str, Token] = {}
        self._read_at: object = None

    def add(self, token: Token) -> None:
        """Keep a token, durably."""
        self._disk.make_folder(self._folder)
        self._check_alone()
        self._disk.replace_whole(self._folder / token.id, token.to_bytes(), self._folder / temporary_name())

    def remove(self, identity: str) -> Token:
        """Remove a token; a server notices within a second.

        Raises:
            NotFound: There is none of that id.
        """
        known = self.read()
        token = known.get(identity)
        if token is None:
            raise NotFound(
                f"There is no token {identity[:40]!r}.",
                hint=f"There are: {', '.join(sorted(known))}." if known else "There is none at all.",
            )
        self._disk.remove(self._folder / token.id)
        self._disk.sync_folder(self._folder)
        return token

    def _check_alone(self) -> None:
        if self._folder.exists() and not self._disk.is_owners_alone(self._folder):
            raise DepotUnusable(f"Other users may write to {self._folder}.", hint=f"Run: chmod 700 {self._folder} (and chown it).")

    def read(self) -> dict[str, Token]:
        """Return all tokens by their id; read again only when the folder has changed.

        Raises:
            HostFault: The folder cannot be read, or others may write it.
        """
        try:
            facts = os.stat(self._folder)
        except FileNotFoundError:
            return {}
        stamp = (facts.st_ino, facts.st_mtime_ns, facts.st_mode, facts.st_uid)
        if stamp != self._read_at:
            self._check_alone()
            self._known = {token.id: token for token in self._files()}
            is_settled = time.time_ns() - facts.st_mtime_ns > CLOCK_TICK_NS   # within one tick of the clock it may change unseen
            self._read_at = stamp if is_settled else None
        return self._known

    def _files(self) -> Iterable[Token]:
        for name in self._disk.names(self._folder):
            content = None
            if _ID.fullmatch(name):
                with suppress(HostFault):   # one that cannot be read is as good as none
                    content = self._disk.read_if_there(self._folder / name, MAX_BYTES)
            token = None if content is None else Token.from_bytes(content)
            if token is not None and token.id == name:
                yield token
