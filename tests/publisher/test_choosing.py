"""Which release somebody means who promotes or goes back."""

import pytest

from modelcast.publisher.catalog import Catalog, KnownRelease, Ordered, Released, Withdrawal
from modelcast.publisher.choosing import before_and_after, not_pruned, order_for, release_of
from modelcast.shared.errors import NotFound
from modelcast.shared.manifest import Artifact, Environment, FileEntry, Manifest

ENTRY = FileEntry(path="m", size=1, sha256=bytes(32), chunk_digests=bytes(32), chunk_sizes=(1,))
ONE, TWO, THREE = ("ab" * 32, "cd" * 32, "ef" * 32)
VERSIONS = {ONE: "1.0.0", TWO: "2.0.0", THREE: "3.0.0"}


def known(release: str, oldest_offset: int | None = 0) -> KnownRelease:
    manifest = Manifest(
        model="fraud", version=VERSIONS[release], created="", artifact=Artifact(format="files", loader="files", files=(ENTRY,)),
        environment=Environment(python="3.11.7", implementation="cpython", platform="linux", machine="x86_64"),
    )
    return KnownRelease(Released(b"", 0, oldest_offset, b"", 0), manifest, release)


def order(sequence: int, release: str, *, is_known: bool = True, **fields: object) -> Ordered:
    return Ordered("production", sequence, release, 0, order="00" * 32 if is_known else None, **fields)   # type: ignore[arg-type]


def catalog(*records: Ordered | Withdrawal) -> Catalog:
    found = Catalog([each.to_bytes() for each in records])
    found.releases = [known(release) for release in VERSIONS]
    return found


def from_to(*records: Ordered | Withdrawal) -> tuple[str | None, str]:
    left, target = before_and_after(catalog(*records), "fraud", "production", None, lambda _known, _order: False)
    return left and left.manifest.version, target.manifest.version


def test_a_channel_goes_back_to_what_was_ordered_for_all_of_it() -> None:
    assert from_to(order(1, ONE), order(2, TWO)) == ("2.0.0", "1.0.0")
    waves = order(2, TWO, rollout=2, wave=0, up_to=5), order(3, TWO, rollout=2, wave=1, up_to=9)
    assert from_to(order(1, ONE), *waves) == ("2.0.0", "1.0.0")
    assert from_to(order(1, ONE), *waves, order(4, THREE, rollout=4, wave=0, up_to=5)) == ("3.0.0", "1.0.0")   # 2.0.0 halted
    assert from_to(order(1, ONE), *waves, order(4, THREE)) == ("3.0.0", "1.0.0")
    assert from_to(order(1, ONE), *waves, order(4, TWO, rollout=2, wave=2), order(5, THREE)) == ("3.0.0", "2.0.0")


def test_an_order_that_may_have_been_sent_is_what_is_left_and_never_where_it_goes() -> None:
    assert from_to(order(1, ONE), order(2, TWO, is_known=False)) == ("2.0.0", "1.0.0")
    assert from_to(order(1, ONE), order(2, TWO, is_known=False), order(3, THREE)) == ("3.0.0", "1.0.0")


def test_what_was_withdrawn_does_not_come_back() -> None:
    withdrawn = Withdrawal("production", TWO, "2.0.0", 0)
    assert from_to(order(1, ONE), order(2, TWO), withdrawn, order(3, THREE)) == ("3.0.0", "1.0.0")
    with pytest.raises(NotFound, match="ran nothing before"):
        from_to(order(2, TWO))
    with pytest.raises(NotFound, match="Nothing was ever ordered"):
        from_to()


def test_a_release_is_found_by_its_version_and_its_order_by_its_channel() -> None:
    found = catalog(order(1, ONE), order(2, TWO), order(3, ONE))
    assert release_of(found, "fraud", "2.0.0").release == TWO
    assert order_for(found, "production", known(ONE)).sequence == 3
    with pytest.raises(NotFound, match=r"There is no release fraud 9\.0\.0") as missing:
        release_of(found, "fraud", "9.0.0")
    assert missing.value.hint == "There are: 3.0.0, 2.0.0, 1.0.0."
    with pytest.raises(NotFound, match=r"it runs 1\.0\.0"):
        order_for(found, "production", known(THREE))
    assert not_pruned(known(ONE)).release == ONE
    with pytest.raises(NotFound, match="are not on the road any more"):
        not_pruned(known(ONE, oldest_offset=None))
