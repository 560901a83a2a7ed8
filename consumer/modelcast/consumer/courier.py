"""The I/O thread's turns: keeps the instance on its road, brings orders in and carries verdicts out.

Decides when to connect again (doubling pauses, full jitter) and when to report the state. Owns the road; nothing slow happens
here. Starts no thread. Imports the road's protocols, the updater and the verdicts.
"""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from modelcast.consumer.policy import Timing, pause_seconds
from modelcast.consumer.questions import Questions
from modelcast.consumer.reporting import Reporter, now_ms
from modelcast.consumer.updater import Updater
from modelcast.consumer.verdicts import Verdicts
from modelcast.shared.errors import HostFault
from modelcast.shared.report import ReportKind
from modelcast.shared.road import Confirmed, Road, Target, WakeableInstanceRoad

TURN_SECONDS = 1.0
"""Longest wait of one turn: how soon the thread notices what nobody rang for."""
ERROR_PAUSE_SECONDS = 1.0
GOODBYE_SECONDS = 2.0
"""Longest wait for the last report's confirm; a broker in alarm must not hold up the end of an application."""


@dataclass(slots=True)
class Courier:
    """One instance's messenger.

    Args:
        road: Where to connect.
        target: Who connects.
        updater: Takes orders.
        verdicts: What is to be told.
        reporter: Builds reports of the state.
        timing: Pauses and heartbeats.
        take_results: Hands the worker's results to those who wait for them.
        log: Bound logger.
    """

    road: Road
    target: Target
    updater: Updater
    verdicts: Verdicts
    reporter: Reporter
    timing: Timing
    take_results: Callable[[], None]
    log: Any
    questions: Questions = field(init=False)
    restored: bool = False
    connected_since_ms: int | None = None
    last_contact: float | None = None
    last_contact_ms: int | None = None
    losses: int = 0
    failures: int = 0
    fault: str | None = None
    _joined: WakeableInstanceRoad | None = None
    _bell: Event = field(default_factory=Event)
    _next_join: float = 0.0
    _next_state: float = 0.0
    _state_is_told: Confirmed | None = None

    def __post_init__(self) -> None:
        self.questions = Questions(self.updater, self.reporter, self.verdicts.slot, self.verdicts.submit)

    def turn(self) -> None:
        """Do what is due, then wait for what comes first. Never raises."""
        self._bell.clear()
        try:
            self.take_results()
            wait_seconds = self.updater.dispatch() if self.restored else None
            limit = min(TURN_SECONDS, wait_seconds if wait_seconds is not None else TURN_SECONDS)
            if not self.restored:
                self._bell.wait(limit)
            elif self._joined is None:
                self._come_back(limit)
            else:
                self._carry(self._joined, limit)
        except HostFault as error:
            self._lose(error)
        except Exception:
            self.log.exception("unexpected error in the i/o thread; it goes on")
            self._lose(HostFault("An unexpected error interrupted the connection; see the log."))
            self._bell.wait(ERROR_PAUSE_SECONDS)

    def ring(self) -> None:
        """End the wait of the current turn; the only call that any thread may make."""
        self._bell.set()
        joined = self._joined
        if joined is not None:
            with suppress(HostFault, OSError, RuntimeError):   # it may be closing at this moment
                joined.wake()

    def end(self) -> None:
        """Say goodbye and leave; called once, by the I/O thread when it ends."""
        self.take_results()
        self.updater.stop()
        joined = self._joined
        if joined is not None:
            with suppress(HostFault):
                self.verdicts.tell(joined)
                is_told = joined.report(self.reporter.state(self.verdicts.slot.active, ReportKind.STOPPED))
                deadline = time.monotonic() + GOODBYE_SECONDS
                while not is_told() and time.monotonic() < deadline:
                    joined.next_order(0.05)   # serves the connection; an order that comes now is given out again later
                self.verdicts.tell(joined)
            joined.close()
            self._joined = None

    def _come_back(self, limit: float) -> None:
        pause = self._next_join - time.monotonic()
        if pause > 0:
            self._bell.wait(min(pause, limit))
            return
        joined = self.road.join(self.target, bookmark=self.updater.go_on_from())
        self._joined, self.failures, self.fault = joined, 0, None
        self.connected_since_ms, self._next_state = now_ms(), 0.0
        self.log.info("connected")

    def _carry(self, joined: WakeableInstanceRoad, limit: float) -> None:
        self.verdicts.tell(joined)
        for answer in self.questions.due():
            joined.report(answer)   # who asked asks again if it gets lost
        if time.monotonic() >= self._next_state and (self._state_is_told is None or self._state_is_told()):
            self._next_state = time.monotonic() + self.timing.heartbeat_seconds
            self._state_is_told = joined.report(self.reporter.state(self.verdicts.slot.active))
        with self.reporter.host.waiting(limit):
            arrived = joined.next_order(limit)
        deadline = time.monotonic() + TURN_SECONDS
        while arrived is not None:
            if arrived.is_announcement:
                joined.settle(arrived, accept=True)   # the order will say it again: nothing is lost with it
                if not self.questions.take(arrived.body):
                    self.updater.on_announcement(arrived)
            else:
                self.updater.on_order(arrived)
            if time.monotonic() > deadline:
                break   # whoever floods the exchange must not keep verdicts and heartbeats from being sent
            arrived = joined.next_order(0)
        self.last_contact, self.last_contact_ms = time.monotonic(), now_ms()

    def _lose(self, error: HostFault) -> None:
        joined, self._joined = self._joined, None
        if joined is not None:
            try:
                joined.close()
            except Exception:   # a turn never raises: without one more the instance would be deaf until it ends
                self.log.exception("a connection could not be closed; another one is made")
        self.verdicts.lost_connection()
        self._state_is_told = None
        self.connected_since_ms = None
        self.losses += 1
        self.failures += 1
        seconds = min(pause_seconds(self.timing, self.failures), error.longest_pause_seconds or math.inf)
        self._next_join = time.monotonic() + seconds
        told = f"{error} {error.hint or ''}".rstrip()
        if told != self.fault or self.failures & (self.failures - 1) == 0:   # the same again: at each doubling
            self.log.warning("not connected; the model in service stays", fault=told, seconds=round(seconds, 1))
        self.fault = told
