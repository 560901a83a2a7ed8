"""Things that are sent one after the other, each answered before the next one goes.

Decides what happens to one that a server is too busy for (it goes again when the server says) or refuses (whoever asks for it is
told, and so is whoever sends the next one). Imports the line.
"""

import time

from modelcast.shared.errors import HostFault, MisuseError
from modelcast.shared.http_answers import ServerBusy
from modelcast.shared.http_line import MOST_BUSY_SECONDS, Ask, Line, rested
from modelcast.shared.limits import MIB

BATCH_BYTES = 8 * MIB
BATCH_CHUNKS = 16
"""What is sent together, and how many chunks are asked for together: a request costs as much as moving a chunk does (figures:
``docs/adr/0025-http-client.md``)."""


class Sent:
    """One thing on its way; see ``road.Confirmed``."""

    def __init__(self, sending: "Sending", ask: Ask, what: str, allowed: frozenset[int]) -> None:
        self._sending, self.ask, self.what, self.allowed = sending, ask, what, allowed
        self.is_kept = False
        self.fault: HostFault | None = None

    def __call__(self) -> bool:
        """See ``road.Confirmed``."""
        if self.fault is None and not self.is_kept:
            self._sending.hear(0.0)
        if self.fault is not None:
            raise self.fault
        return self.is_kept


class Sending:
    """Sends over a line of its own.

    Args:
        line: The line.
        patience_seconds: How long the next one waits for the answer to the one before.
    """

    def __init__(self, line: Line, patience_seconds: float = MOST_BUSY_SECONDS) -> None:
        self.line, self._patience_seconds = line, patience_seconds
        self._sent: Sent | None = None
        self._again = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether something is on its way."""
        return self._sent is not None

    def send(self, ask: Ask, what: str, *, allowed: frozenset[int] = frozenset()) -> Sent:
        """Send when the one before was answered, and do not wait for the answer.

        Args:
            ask: The request.
            what: What it is, for errors.
            allowed: Further statuses that mean that it is dealt with.

        Raises:
            HostFault: The one before was refused, or the connection broke.
        """
        self.flush()
        sent = Sent(self, ask, what, allowed)
        self.line.send(ask)
        self._sent = sent
        return sent

    def flush(self) -> None:
        """Wait until what was sent is answered; raises like ``send``."""
        self.finish(self._patience_seconds)
        if self._sent is not None:
            raise HostFault(f"{self._sent.what}: the server did not answer within {self._patience_seconds:g} s.")

    def finish(self, seconds: float) -> None:
        """Wait until what was sent is answered, at most ``seconds``; raises like ``send``."""
        until = time.monotonic() + seconds
        while self._sent is not None and time.monotonic() < until:
            self.hear(until - time.monotonic())

    def hear(self, seconds: float) -> None:
        """Take the answer if it comes within ``seconds``; raises like ``send``."""
        sent = self._sent
        if sent is None:
            return
        try:
            if not self.line.is_waiting:
                pause = self._again - time.monotonic()
                if pause > seconds:
                    time.sleep(max(0.0, seconds))
                    return
                time.sleep(max(0.0, pause))
                self.line.send(sent.ask)
            if not self.line.has_answer(seconds):
                return
            self.line.answer(sent.what, allowed=sent.allowed)
        except ServerBusy as busy:
            self._again = time.monotonic() + rested(busy)
            return
        except HostFault as fault:
            sent.fault, self._sent = fault, None
            raise
        except MisuseError as refused:   # its place was given to another one; whoever comes again gets one
            sent.fault, self._sent = HostFault(str(refused), hint="It is connected again by itself.", facts=refused.facts), None
            raise sent.fault from refused
        except BaseException:
            self._sent = None
            raise
        sent.is_kept, self._sent = True, None

    def close(self) -> None:
        """Close the line. Never raises."""
        self.line.close()
