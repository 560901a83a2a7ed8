"""The table of contents leads to chapters that are there, and what may be left out is left out."""

from importlib import import_module

import pytest

from modelcast.publisher.demo.contents import CHAPTERS, ROOM, SKIPPABLE, Chapter, without


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_every_chapter_is_a_function_of_its_module(chapter: Chapter) -> None:
    function = getattr(import_module(f"{ROOM}.{chapter.module}"), chapter.name.replace("-", "_"))
    assert function.__doc__


def test_a_chapter_is_played_with_the_stage_that_it_is_given() -> None:
    with pytest.raises(AttributeError, match="narrator"):
        Chapter("staging", "releasing").play(object())


def test_only_what_others_do_not_need_can_be_left_out() -> None:
    assert {"staging", "rollback"} <= set(SKIPPABLE) < {chapter.name for chapter in CHAPTERS}
    assert [chapter.name for chapter in without(["staging"])] == [each.name for each in CHAPTERS if each.name != "staging"]
    assert without([]) == CHAPTERS


def test_the_dead_letters_of_all_chapters_are_told_last() -> None:
    assert CHAPTERS[-1].name == "dead-letters"
