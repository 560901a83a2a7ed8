"""The token that a server of releases asks for: where it comes from, and who may read its file.

Decides the order: the argument, the file that the address names, the variable ``MODELCAST_TOKEN``. A token is never part of an
error, a log line or an address. Imports the address and the errors.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from modelcast.shared.errors import InvalidKey, MissingPath, MisuseError
from modelcast.shared.http_url import HttpUrl

TOKEN_VARIABLE = "MODELCAST_TOKEN"  # noqa: S105 - the name of a variable
MAX_TOKEN_FILE_BYTES = 4096
_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")
"""Anything else in a header would end it, or be taken for two."""


def token_of(url: HttpUrl, given: str | None, environment: Mapping[str, str]) -> str | None:
    """Return the token to use, or None for none.

    Raises:
        MissingPath: The file that the address names cannot be read.
        InvalidKey: Others than its owner may read that file.
        MisuseError: What was found is no token, or it would travel without TLS to another host.
    """
    if given is None and url.token_file is not None:
        given = _read(Path(url.token_file))
    if given is None:
        given = environment.get(TOKEN_VARIABLE) or None
    if given is None:
        return None
    if not _TOKEN.fullmatch(given):
        raise MisuseError(
            "What stands for the token is none: it is empty, too long, or holds blanks or line ends.",
            hint="A token looks like mct_<id>_<secret>; modelcast tokens makes one.",
        )
    if not url.is_tls and not url.is_here and not url.allow_plain:
        raise MisuseError(
            f"The token would travel to {url.host} without TLS, and whoever sees it could use it.",
            hint="Write https://, or add ?allow_plain=yes if the way there is trusted.",
        )
    return given


def _read(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)   # a pipe in its place does not hold us up
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise InvalidKey(f"{path} is no file.", hint="Name the file that holds the token.")
            if facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise InvalidKey(f"Others than its owner may read the token in {path}.", hint=f"Run: chmod 600 {path}")
            content = file.read(MAX_TOKEN_FILE_BYTES)
    except OSError as error:
        raise MissingPath(f"Cannot read the token file {path}: {error.strerror}.") from error
    return content.decode("ascii", "replace").strip()
