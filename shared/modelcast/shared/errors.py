"""The error tree: one root and three families by *whose fault it is*, because the family decides what happens.

::

    ModelcastError
    ├── SenderFault      the release or the order is at fault    -> the instance rejects it (dead letter)
    ├── HostFault        this host, its disk or its broker       -> retried with backoff, never dead-lettered
    └── MisuseError      the caller of this library or command   -> raised to the caller

Every error says what happened and, in ``hint``, what to do next; ``facts`` carries the data behind the sentence. Each kind
that a command can end with has an exit code of its own (``docs/reference/exit-codes.md`` is generated from here).
Imports only the reasons.
"""

from collections.abc import Mapping
from typing import ClassVar

from modelcast.shared.reasons import Reason


class ModelcastError(Exception):
    """Root of everything that modelcast raises on purpose.

    Attributes:
        hint: What to do next, one sentence, or None when the message says it already.
        facts: The values behind the message, for logs, reports and ``--json``.
        exit_code: The exit status of a command that ends with this error.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, facts: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.facts: dict[str, object] = dict(facts or {})
        if hint:
            self.add_note(f"Hint: {hint}")   # a traceback shows it too


# --------------------------------------------------------------------------- the sender is at fault: reject


class SenderFault(ModelcastError):
    """The order or its release cannot be accepted; the verdict is *rejected* with ``reason``."""

    exit_code = 3

    def __init__(
        self, reason: Reason, message: str, *, hint: str | None = None, facts: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message, hint=hint, facts=facts)
        self.reason = reason


class UnknownFormat(SenderFault):
    """The bytes name a format version that this modelcast does not know."""

    exit_code = 18

    def __init__(self, message: str, *, facts: Mapping[str, object] | None = None) -> None:
        super().__init__(
            Reason.UNKNOWN_FORMAT, message, hint="Upgrade modelcast here, or publish with the older version.", facts=facts
        )


# --------------------------------------------------------------------------- the host is at fault: retry


class HostFault(ModelcastError):
    """Something of this host or of the way to the broker failed; the same step may succeed later.

    Attributes:
        longest_pause_seconds: Longest pause before the next attempt that makes sense, or None where it is as long as anybody likes.
    """

    longest_pause_seconds: ClassVar[float | None] = None


class BrokerUnreachable(HostFault):
    """No RabbitMQ and no server answered, or the connection broke."""

    exit_code = 4


class AuthenticationRefused(HostFault):
    """The broker refused the user name or the password, or the server the token."""

    exit_code = 5


class VhostMissing(HostFault):
    """The virtual host does not exist, or this user may not enter it."""

    exit_code = 6


class PermissionRefused(HostFault):
    """The broker knows the user, or the server the token, but does not allow the operation."""

    exit_code = 7


class TopologyMismatch(HostFault):
    """A queue or exchange exists with other arguments, or one that is needed is gone."""

    exit_code = 8


class BrokerMissing(HostFault):
    """No broker is installed here and none could be installed."""

    exit_code = 9


class StorageFault(HostFault):
    """The store could not be read or written (full, read-only, an I/O error)."""

    exit_code = 23


class DepotUnusable(HostFault):
    """The shared directory is missing, foreign, of a newer format, or others may write it."""

    longest_pause_seconds = 2.0   # a look at a directory costs nobody anything, and whoever mounts it waits
    exit_code = 29


class ProtocolViolation(HostFault):
    """What came over a connection is not what the broker's protocol allows."""

    exit_code = 28


class OutOfTime(HostFault):
    """A deadline passed before the work was done."""

    exit_code = 10


# --------------------------------------------------------------------------- the caller is at fault: raise


class MisuseError(ModelcastError):
    """The call itself cannot work; nothing was sent or changed."""

    exit_code = 2


class InvalidName(MisuseError):
    """A model, channel or instance name outside ``[a-z0-9][a-z0-9_-]{0,63}``."""

    exit_code = 11


class InvalidVersion(MisuseError):
    """A version that is no SemVer 2.0 version, or a range that is no range."""

    exit_code = 12


class Unpicklable(MisuseError):
    """The object cannot be pickled by cloudpickle."""

    exit_code = 13


class EmptyArtifact(MisuseError):
    """There are no bytes to publish."""

    exit_code = 14


class MissingPath(MisuseError):
    """A path that does not exist or cannot be read."""

    exit_code = 15


class InvalidKey(MisuseError):
    """A file that holds no Ed25519 key of the kind that is needed, or a key or a token that others may read."""

    exit_code = 16


class VersionConflict(MisuseError):
    """This version was published before with other bytes; versions are immutable."""

    exit_code = 17


class ReleaseTooLarge(MisuseError):
    """The release is over a limit of the broker or of modelcast."""

    exit_code = 19


class PublisherBusy(MisuseError):
    """Somebody else is publishing or ordering this model right now."""

    exit_code = 20


class SamplesNotReproduced(MisuseError):
    """The model does not reproduce its own sample answers where it was trained."""

    exit_code = 21


class ChangedWhileReading(MisuseError):
    """A file of the artifact changed between hashing and sending."""

    exit_code = 22


class StoreInUse(MisuseError):
    """The store belongs to an instance with another id, which runs."""

    exit_code = 24


class NotReady(MisuseError):
    """There is no active model yet."""

    exit_code = 25


class ForkedProcess(MisuseError):
    """The consumer was started before a fork and this is the child: its threads do not exist here."""

    exit_code = 26


class NotFound(MisuseError):
    """What was asked for does not exist (a dead letter, a release)."""

    exit_code = 27


class Withdrawn(MisuseError):
    """The release was rolled back in this channel, and would only come back because somebody insists."""

    exit_code = 30


class NotConfirmed(MisuseError):
    """Something would be removed for good, and nobody confirmed it."""

    exit_code = 35


class NotAccepted(MisuseError):
    """Not enough instances of the channel before accepted the release."""

    exit_code = 31
