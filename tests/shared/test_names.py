"""Names, versions and version ranges."""

import contextlib
import re
import string

import pytest
import semver
from hypothesis import example, given
from hypothesis import strategies as st

from modelcast.shared.errors import InvalidName, InvalidVersion
from modelcast.shared.names import MAX_VERSION_CHARACTERS, RESERVED_CHANNELS, Version, VersionRange, check_name, name_from_host

SPEC_ORDER = [   # https://semver.org, rule 11
    "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0",
    "2.0.0", "2.1.0", "2.1.1",
]

numbers = st.integers(0, 30).map(str)
identifiers = st.one_of(numbers, st.from_regex(r"[a-z][a-z0-9-]{0,4}", fullmatch=True))
releases = st.tuples(numbers, numbers, numbers).map(".".join)
versions = st.builds(
    lambda release, pre, build: release + ("-" + ".".join(pre) if pre else "") + ("+" + ".".join(build) if build else ""),
    releases, st.lists(identifiers, max_size=3), st.lists(identifiers, max_size=2),
)


@pytest.mark.parametrize("name", ["a", "0", "fraud", "fraud-eu_2", "a" * 64])
def test_a_name_within_the_rule_is_returned_as_it_is(name: str) -> None:
    assert check_name("model", name) == name


@given(st.text(max_size=70))
@example("fraud\n")
@example("\uff46raud")
@example("fraud\u0663")
@example("a" * 65)
@example("-a")
@example("a.b")
@example("../a")
@example("")
def test_every_other_name_is_refused(name: str) -> None:
    within = 0 < len(name) <= 64 and name[0] in string.ascii_lowercase + string.digits and not (
        set(name) - set(string.ascii_lowercase + string.digits + "_-")
    )
    if within:
        assert check_name("model", name) == name
    else:
        with pytest.raises(InvalidName) as caught:
            check_name("model", name)
        assert caught.value.hint


@pytest.mark.parametrize("name", sorted(RESERVED_CHANNELS))
def test_reserved_names_are_refused_for_channels_only(name: str) -> None:
    assert check_name("model", name) == name
    with pytest.raises(InvalidName, match="reserved"):
        check_name("channel", name)


def test_an_endless_name_is_not_repeated_endlessly() -> None:
    with pytest.raises(InvalidName) as caught:
        check_name("model", "X" * 100_000)
    assert len(str(caught.value)) < 200


def test_a_host_gives_a_name_that_is_allowed() -> None:
    assert check_name("instance", name_from_host())


def test_the_examples_of_the_specification_are_ordered() -> None:
    for index, lower in enumerate(SPEC_ORDER):
        for higher in SPEC_ORDER[index + 1 :]:
            assert Version(lower).precedes(Version(higher))
            assert not Version(higher).precedes(Version(lower))
            assert Version(lower) < Version(higher) >= Version(lower)


@given(versions, versions)
@example("1.0.0+a", "1.0.0+b")
def test_versions_are_ordered_as_the_semver_library_orders_them(left: str, right: str) -> None:
    order = semver.Version.parse(left).compare(right)
    one, other = Version(left), Version(right)
    assert (one < other, one <= other, one > other, one >= other) == (order < 0, order <= 0, order > 0, order >= 0)
    assert one.precedes(other) == (order < 0)


def test_build_metadata_tells_versions_apart_without_ordering_them() -> None:
    left, right = Version("1.0.0+a"), Version("1.0.0+b")
    assert left != right
    assert not left.precedes(right)
    assert not right.precedes(left)


@given(st.text(max_size=80))
@example("1.0")
@example("v1.0.0")
@example("01.0.0")
@example("1.0.0-")
@example("1.0.0-01")
@example("1.0.0\n")
@example(" 1.0.0")
@example("1.0.1\u0663")
@example("1.0.0-" + "a" * MAX_VERSION_CHARACTERS)
def test_what_is_no_version_is_refused(text: str) -> None:
    # The expression that semver.org suggests, with ASCII digits and no line end.
    rule = (
        r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
        r"(-(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
        r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?"
    )
    if re.fullmatch(rule, text) and len(text) <= MAX_VERSION_CHARACTERS:
        assert str(Version(text)) == text
    else:
        with pytest.raises(InvalidVersion):
            Version(text)


@pytest.mark.parametrize(
    ("accept", "version", "allowed"),
    [
        (">=2,<3", "2.0.0", True), (">=2,<3", "2.9.9", True), (">=2,<3", "3.0.0", False), (">=2,<3", "1.9.9", False),
        (" >= 2 , < 3 ", "2.5.0", True), ("2.1", "2.1.0", True), ("=2.1", "2.1.1", False), ("==2.1.0", "2.1.0+build", True),
        ("!=2.1.0", "2.1.0", False), ("!=2.1.0", "2.1.1", True), (">1.4.2", "1.4.2", False), ("<=1.4.2", "1.4.2", True),
        ("*", "0.0.1", True), ("", "99.0.0", True), ("*", "3.0.0-rc.1", True),
        # A pre-release needs a comparison that names one of the same version.
        ("<3", "3.0.0-rc.1", False), (">=2,<3", "2.5.0-rc.1", False), (">=2", "2.0.0-rc.1", False),
        (">=2.5.0-rc.1", "2.5.0-rc.2", True), (">=2.5.0-rc.1", "2.5.0-rc.0", False), (">=2.5.0-rc.1", "2.6.0-rc.1", False),
        (">=2.5.0-rc.1", "2.5.0", True), (">=2.5.0-rc.1,<3", "2.9.0", True),
    ],
)
def test_a_range_allows_what_it_says(accept: str, version: str, allowed: bool) -> None:
    assert VersionRange(accept).allows(Version(version)) is allowed


@given(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), releases, releases)
def test_a_comparison_agrees_with_the_semver_library(operator: str, bound: str, version: str) -> None:
    assert VersionRange(operator + bound).allows(Version(version)) == semver.Version.parse(version).match(operator + bound)


@given(st.text(alphabet="<>=!*,. 0123456789-rc\u0663x\n", max_size=20))
@example(">=" + "9" * 5000)
@example(">=2,,<3")
@example("^1.2")
@example("~=1.2")
@example(">=2.x")
@example(">=1.0.0-01")
def test_any_text_is_a_range_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidVersion):
        VersionRange(text).allows(Version("2.1.0"))


@pytest.mark.parametrize("text", [">=2,,<3", "^1.2", "~=1.2", ">=2.x", ">=1.0.0-01", ">=\u0663", ">=1.0.0+b", "latest"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidVersion):
        VersionRange(text)


def test_untyped_callers_get_typed_errors() -> None:
    with pytest.raises(InvalidVersion):
        Version(1)  # type: ignore[arg-type]
    with pytest.raises(InvalidName):
        check_name("model", None)  # type: ignore[arg-type]
