"""Answering whether a release would be taken here, before a byte of it is sent: the same rules, and the same room, as for its order.

Decides how many questions are answered: one a second, a few waiting, so that who floods the exchange gets no flood of reports back. An
answer decides nothing. Imports the updater, trust and rules.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from modelcast.consumer.active import Slot
from modelcast.consumer.reporting import Reporter
from modelcast.consumer.rules import Ruling, rule
from modelcast.consumer.trust import TrustedOrder, open_question
from modelcast.consumer.updater import Updater
from modelcast.consumer.verdicts import Submit
from modelcast.shared.errors import HostFault, ModelcastError, SenderFault
from modelcast.shared.limits import shortened
from modelcast.shared.order import is_question, order_id
from modelcast.shared.reasons import HOST

REST_SECONDS = 1.0
MOST_WAITING = 4


@dataclass(slots=True)
class Questions:
    """The questions to one instance. Used by the I/O thread.

    Args:
        updater: Knows what runs here and what is allowed.
        reporter: Builds the answers.
        slot: The active slot.
        submit: Gives jobs to the worker.
        clock: A monotonic clock in seconds.
    """

    updater: Updater
    reporter: Reporter
    slot: Slot
    submit: Submit
    clock: Callable[[], float] = time.monotonic
    _waiting: deque[bytes] = field(default_factory=deque)
    _answers: deque[bytes] = field(default_factory=deque)
    _is_busy: bool = False
    _next: float = 0.0

    def take(self, body: bytes) -> bool:
        """Take a message if it is a question; returns whether it was one."""
        if not is_question(body):
            return False
        if len(self._waiting) < MOST_WAITING and body not in self._waiting:
            self._waiting.append(body)
        return True

    def due(self) -> list[bytes]:
        """Return the answers to be sent now, and begin with the next question if its time has come."""
        if self._waiting and not self._is_busy and self.clock() >= self._next:
            self._next = self.clock() + REST_SECONDS
            self._begin(self._waiting.popleft())
        answers, self._answers = list(self._answers), deque()
        return answers

    def _begin(self, body: bytes) -> None:
        setting, updater = self.updater.setting, self.updater
        try:
            asked = open_question(body, setting.ring, model=setting.target.model, channel=setting.target.channel)
        except SenderFault as fault:
            self._answer(body, None, fault)
            return
        try:
            ruling = rule(asked, updater.standing, setting.policy, setting.host, now_ms=self.reporter.clock_ms())
        except SenderFault as fault:
            self._answer(body, asked, fault)
            return
        if ruling is Ruling.STALE:
            self._answer(body, asked, None)
            return
        self._is_busy = True
        self.submit(partial(updater.workshop.has_room, asked.manifest.artifact), partial(self._after, body, asked))

    def _after(self, body: bytes, asked: TrustedOrder, _result: object, error: BaseException | None) -> None:
        self._is_busy = False
        self._answer(body, asked, error if isinstance(error, ModelcastError) else None)

    def _answer(self, body: bytes, asked: TrustedOrder | None, fault: ModelcastError | None) -> None:
        reason = fault.reason.value if isinstance(fault, SenderFault) else HOST if isinstance(fault, HostFault) else None
        facts: Mapping[str, Any] = fault.facts if fault is not None else {}
        message = None if fault is None else shortened(fault)
        self._answers.append(
            self.reporter.answer(order_id(body), self.slot.active, asked=asked, reason=reason, message=message, facts=facts)
        )
