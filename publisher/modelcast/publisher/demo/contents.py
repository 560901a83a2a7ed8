"""The table of contents of the demo's story.

Decides which chapters there are, in which order, and which may be left out: a new chapter is one entry here. Knows a chapter by the
names of its module and its function, as an entry point does, so that ``modelcast demo --help`` loads no library that a chapter needs.
"""

from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from typing import Any

ROOM = "modelcast.publisher.demo"


@dataclass(frozen=True, slots=True)
class Chapter:
    """One chapter.

    Attributes:
        name: What ``--skip`` calls it.
        module: The module of the demo that tells it.
        is_skippable: Whether the story holds without it. One that is told must leave its ``outcomes.Told`` in the record.
    """

    name: str
    module: str
    is_skippable: bool = False

    def play(self, stage: Any) -> None:
        """Tell it; ``stage`` is a ``stage.Stage``, which this module must not import."""
        getattr(import_module(f"{ROOM}.{self.module}"), self.name.replace("-", "_"))(stage)


CHAPTERS = (
    Chapter("first-model", "chapters"),
    Chapter("better-model", "chapters"),
    Chapter("damaged-on-the-way", "chapters"),
    Chapter("wrong-elsewhere", "chapters"),
    Chapter("forbidden-version", "chapters"),
    Chapter("unknown-key", "chapters"),
    Chapter("killed", "chapters"),
    Chapter("late", "chapters"),
    Chapter("staging", "releasing", is_skippable=True),
    Chapter("rollback", "releasing", is_skippable=True),
    Chapter("waves", "waves", is_skippable=True),
    Chapter("dead-letters", "chapters"),
)
SKIPPABLE = tuple(chapter.name for chapter in CHAPTERS if chapter.is_skippable)


def without(skip: Collection[str]) -> tuple[Chapter, ...]:
    """Return the chapters that are told when those in ``skip`` are not."""
    return tuple(chapter for chapter in CHAPTERS if chapter.name not in skip)
