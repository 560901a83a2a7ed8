"""What ``modelcast doctor`` says of a model's releases: whether the road keeps them as long as somebody may need them.

Decides how many of the largest release a chunk stream should hold. Found by its entry point. Imports the catalog and the roads.
"""

from collections.abc import Iterator

from modelcast.publisher.catalog import Catalog
from modelcast.shared.cli.output import as_size
from modelcast.shared.doctor.findings import Case, Finding, fine, problem, warning
from modelcast.shared.limits import counted
from modelcast.shared.permissions import Role
from modelcast.shared.roads import open_road
from modelcast.shared.topology import CHUNKS_RETENTION_BYTES

FEW_RELEASES = 4
"""Below it a rollback, or an instance that comes late, may find that the chunks are gone."""


def check_retention(case: Case) -> Iterator[Finding]:
    """Look at the releases in the register of the case's model, where this user may read it."""
    if case.model is None or case.role is Role.INSTANCE:
        return
    is_broker = case.url.startswith("amqp")
    if not case.url or (is_broker and not case.known.get("register")):   # reading a register that is not there would make it
        return
    catalog = Catalog(open_road(case.url).records(case.model))
    sizes = [known.manifest.artifact.size for known in catalog.releases if not known.is_pruned]
    if not sizes:
        yield fine("releases", f"Nothing of {case.model} was published yet.")
        return
    kept = case.known.get("retention_bytes") if is_broker else None
    if is_broker and not isinstance(kept, int):
        yield fine("releases", f"{counted(len(sizes), 'release')}, the largest has {as_size(max(sizes))}; what is kept was not told.",
                   releases=len(sizes), largest_bytes=max(sizes))
        return
    yield judge_retention(sizes, kept if isinstance(kept, int) else None)


def judge_retention(sizes: list[int], kept: int | None) -> Finding:
    """Say whether a road that keeps so many bytes of chunks (None: all) is large enough for releases of these sizes."""
    largest, total = max(sizes), sum(sizes)
    facts: dict[str, object] = {"releases": len(sizes), "largest_bytes": largest, "total_bytes": total, "retention_bytes": kept}
    text = f"{counted(len(sizes), 'release')} with {as_size(total)} in all, the largest has {as_size(largest)}"
    if kept is None:
        return fine("releases", f"{text}; the road keeps them until they are pruned.", **facts)
    text += f"; the chunk stream keeps {as_size(kept)}"
    remedy = (
        f"A stream keeps its arguments: publish to a new virtual host with Publisher(retention_bytes={_suited(largest)}), or delete "
        "the stream modelcast.MODEL.chunks and publish what is current so, with --resend."
    )
    if 2 * largest > kept:
        return problem("releases", f"{text}: a release that is larger than half of it is refused.", remedy, **facts)
    if FEW_RELEASES * largest > kept:
        text += f": fewer than {FEW_RELEASES} of the largest fit, so a rollback may need --resend."
        return warning("releases", text, remedy, **facts)
    return fine("releases", f"{text}.", **facts)


def _suited(largest: int) -> int:
    return max(CHUNKS_RETENTION_BYTES, 2 * FEW_RELEASES * largest)
