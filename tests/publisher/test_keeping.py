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
    assert course_of(orders) == Course(["03" * 32, "04" * 32, "02" * 32, "01" * 32], "04" * 32, "02" * 32)
    assert course_of([]) == Course([])
