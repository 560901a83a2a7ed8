"""Which release somebody means who promotes or goes back: by its version, or by what a channel ran before. Pure.

Decides what a channel ran before: what was ordered for all of it, and was not withdrawn. Imports the catalog.
"""

from collections.abc import Callable, Sequence

from modelcast.publisher.catalog import Catalog, KnownRelease, Ordered
from modelcast.shared.errors import NotFound

SHOWN_VERSIONS = 8
"""So many are named where one was asked for that does not exist."""


def release_of(catalog: Catalog, model: str, version: str) -> KnownRelease:
    """Return the release of a version, whether or not its chunks are there; raises NotFound when there is none."""
    known = catalog.release(version)
    if known is None:
        versions = [found.manifest.version for found in catalog.releases if not found.is_pruned]
        listed = ", ".join(dict.fromkeys(reversed(versions[-SHOWN_VERSIONS:])))
        raise NotFound(
            f"There is no release {model} {version}.",
            hint=f"There are: {listed}." if listed else "Nothing of this model was published.",
        )
    return known


def not_pruned(known: KnownRelease) -> KnownRelease:
    """Return a release whose chunks are there as far as the register knows; raises NotFound."""
    if known.is_pruned:
        raise gone(known)
    return known


def gone(known: KnownRelease) -> NotFound:
    """Return the error that a release's chunks are gone."""
    return NotFound(
        f"The chunks of {known.manifest.model} {known.manifest.version} are not on the road any more: only instances that hold it "
        "could switch.",
        hint="Publish the same bytes again; or order it all the same with --again, for instances that have a fallback.",
    )


def order_for(catalog: Catalog, channel: str, known: KnownRelease) -> Ordered:
    """Return the latest order for a release in a channel."""
    for order in reversed(catalog.orders.get(channel, [])):
        if order.release == known.release and order.order is not None:
            return order
    last = catalog.last_order(channel)
    current = None if last is None else catalog.by_id(last.release)
    runs = f"it runs {current.manifest.version}" if current else "nothing was ordered there"
    raise NotFound(
        f"{known.manifest.version} was never ordered for {channel}; {runs}.",
        hint=f"Promote it to {channel} first, or leave --from out.",
    )


Refused = Callable[[KnownRelease, Ordered], bool]
"""Says of an order whether instances refused it and none took it."""


def before_and_after(
    catalog: Catalog, model: str, channel: str, version: str | None, refused: Refused
) -> tuple[KnownRelease | None, KnownRelease]:
    """Return the release that a channel leaves and the one that it goes back to.

    Args:
        catalog: The register.
        model: Name of the model.
        channel: The channel.
        version: The version to go back to, or None for what it ran before.
        refused: Tells of what nobody took.

    Raises:
        NotFound: Nothing was ever ordered, or there is nothing to go back to.
    """
    orders = catalog.orders.get(channel, [])
    if not orders:
        raise NotFound(f"Nothing was ever ordered for {channel} of {model}.")
    left = catalog.by_id(orders[-1].release)   # also where nobody knows whether the order was sent: some instances may run it
    if version is not None:
        return left, release_of(catalog, model, version)
    target = ran_before(catalog, channel, orders[:-1], orders[-1].release, refused)
    if target is None:
        raise NotFound(
            f"{channel} of {model} ran nothing before that it could go back to.", hint="Say which version: --to VERSION.",
        )
    return left, target


def ran_before(catalog: Catalog, channel: str, orders: Sequence[Ordered], left: str, refused: Refused) -> KnownRelease | None:
    """Return what a channel ran before it was ordered to run ``left``.

    That is neither what only some waves of a rollout brought to some of it, nor what was ordered and taken by nobody.
    """
    for order in reversed(orders):
        target, is_whole = catalog.by_id(order.release), order.order is not None and order.up_to is None
        may_be = is_whole and order.release != left and catalog.withdrawn(channel, order.release) is None
        if target is not None and may_be and not refused(target, order):
            return target
    return None
