"""The order in which the instances of a channel take their turn when a release is rolled out gradually. Pure.

Decides the turn of an instance: it follows from its id alone, so it is the same in every rollout, wherever it is worked out, and
whoever joins in between has his place, too. A digest spreads what the ids have in common (a rack, a site) over all waves. Imports
the digest.
"""

from modelcast.shared.digest import digest

TURN_BYTES = 6
"""As many as every reader of JSON keeps exactly; two instances of a fleet of 10,000 share a turn once in five million fleets."""
TURNS = 2 ** (8 * TURN_BYTES)


def turn_of(instance: str) -> int:
    """Return the turn of an instance, from 0 up to and not including ``TURNS``; the lowest go first.

    Args:
        instance: Its id.
    """
    return int.from_bytes(digest(instance.encode())[:TURN_BYTES])
