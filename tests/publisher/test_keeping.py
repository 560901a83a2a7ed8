"""What is kept when room is made, and nothing else is."""

from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import specimens

from modelcast.publisher.keeping import Course, Promise, course_of, reasons_to_keep
from modelcast.shared.order import Kind

ids = st.sampled_from("abcdefgh")


courses = st.builds(Course, st.lists(ids), st.none() | ids, st.none() | ids)


@given(st.lists(ids, min_size=1), st.dictionaries(st.sampled_from(["production", "staging"]), courses), st.dictionaries(ids, ids), st.integers(1, 5))
def test_the_newest_the_ordered_and_the_running_are_kept_and_nothing_else(releases, courses, running, keep: int) -> None:
    kept = reasons_to_keep(releases, courses, running, keep)
    newest = list(dict.fromkeys(reversed(releases)))[:keep]
    ordered = [release for course in courses.values() for release in list(dict.fromkeys(course.ranked))[:2]]
    others = {release for course in courses.values() for release in (course.last, course.rollback) if release is not None}
    assert set(kept) == {*newest, *ordered, *others, *running.values()}
    assert all(kept.values())


def test_a_course_tells_the_ranking_the_last_order_and_where_the_last_rollback_went() -> None:
    def promise(sequence: int, version: str, kind: Kind = Kind.PROMOTION) -> Promise:
        return Promise(specimens.order(sequence=sequence, kind=kind, release=bytes([sequence] * 32)), specimens.manifest(version=version))

    orders = [promise(1, "3.0.0"), promise(2, "1.0.0", Kind.ROLLBACK), promise(3, "1.2.0"), promise(4, "1.1.0")]
    assert course_of(orders) == Course(["03" * 32, "04" * 32, "02" * 32, "01" * 32], "04" * 32, "02" * 32, "03" * 32)


def test_what_was_ordered_for_all_is_kept_while_rollouts_of_later_ones_stand_where_they_are() -> None:
    def promise(sequence: int, up_to: int | None) -> Promise:
        order = specimens.order(sequence=sequence, release=bytes([sequence] * 32), up_to=up_to)
        return Promise(order, specimens.manifest(version=f"1.{sequence}.0"))

    course = course_of([promise(1, None), promise(2, 9), promise(3, 5), promise(4, 5)])
    assert course.whole == "01" * 32
    kept = reasons_to_keep([f"0{number}" * 32 for number in (1, 2, 3, 4)], {"production": course}, {}, 1)
    assert kept["01" * 32] == ["ordered for all in production"]
    assert "02" * 32 not in kept
    assert course_of([]) == Course([])
