"""A publisher's hold of what is decided by the register: let go while it sends, taken again before it decides.

Decides what is looked at anew when it is taken again. Imports the catalog, holding and the road's protocols.
"""

from collections.abc import Callable

from modelcast.publisher.catalog import Begun, Catalog
from modelcast.publisher.holding import are_kept
from modelcast.publisher.plan import Plan
from modelcast.shared.errors import HostFault, Withdrawn
from modelcast.shared.publishing_road import PublisherRoad

Rejoin = Callable[[PublisherRoad], None]
"""Ends the time in which others may order; see ``sessions.Sessions.rejoin``."""


class Hold:
    """The hold of one session.

    Args:
        road: The session; nobody else may order.
        rejoin: Ends its time apart.

    Attributes:
        catalog: What the register says; read again whenever the hold is taken again.
        is_let_go: Whether others may order.
    """

    def __init__(self, road: PublisherRoad, rejoin: Rejoin) -> None:
        self._road, self._rejoin = road, rejoin
        self.catalog, self.is_let_go = Catalog(road.register.read()), False
        self._at_first = self.catalog

    def let_go(self) -> None:
        """Let others order."""
        if not self.is_let_go:
            self._road.apart()
            self.is_let_go = True

    def take(self) -> bool:
        """Keep others from ordering again, and read what they did; returns whether they could do anything.

        Raises:
            HostFault: Somebody else does not end, or the road is away.
        """
        if not self.is_let_go:
            return False
        self._rejoin(self._road)
        self.is_let_go, self.catalog = False, Catalog(self._road.register.read())
        return True

    def refuse_lost(self, begun: Begun, plan: Plan) -> None:
        """Refuse to tell of a release whose chunks are not all there: somebody deleted what holds them while it was sent.

        A command that notices such a thing records where the stream begins anew, and with that ``begun`` is over; otherwise where the
        stream ends tells it: each chunk that was sent has a number of its own.

        Args:
            begun: What was recorded of its beginning.
            plan: What was sent, and what was counted on.

        Raises:
            HostFault: They are not.
        """
        oldest_offset, known = plan.oldest_offset, self.catalog.begun(begun.version)
        is_over = known is None or known.offset < begun.offset
        if is_over or not are_kept(self._road, oldest_offset, plan.end_offset):
            raise HostFault(
                "Chunks of this release are gone: somebody deleted what holds them, or it keeps too little.",
                hint="Publish it again: what is missing is sent.", facts={"oldest_offset": oldest_offset},
            )

    def refuse_withdrawn_meanwhile(self, channel: str, version: str) -> None:
        """Refuse to order a version that somebody rolled back since this session began, whatever its release was.

        Raises:
            Withdrawn: Somebody did.
        """
        before, now = self._at_first.withdrawals(channel), self.catalog.withdrawals(channel)
        for release, withdrawal in now.items():
            if withdrawal.version == version and before.get(release) != withdrawal:
                why = f" ({withdrawal.reason})" if withdrawal.reason else ""
                raise Withdrawn(
                    f"{version} is not ordered: it was rolled back in {channel} while it was being published{why}.",
                    hint="To order it all the same: modelcast promote … --again, without a byte, or publish it again with --resend.",
                    facts={
                        "channel": channel, "release": release, "withdrawn_ms": withdrawal.at_ms, "reason": withdrawal.reason,
                    },
                )
