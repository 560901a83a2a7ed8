"""Models that left service are freed where nobody waits, in pieces, and never under somebody's hands."""

import gc
import threading
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from modelcast.consumer.releasing import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, MANY, MOST_KEPT, Departed, take_apart


class Part:
    """Something that tells where it was freed."""

    freed_in: list[threading.Thread]

    def __init__(self) -> None:
        self.freed_in = []

    def __del__(self) -> None:
        self.freed_in.append(threading.current_thread())


class Model:
    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)


def handle(model: Any) -> SimpleNamespace:
    return SimpleNamespace(model=model)


# --------------------------------------------------------------------------- who frees it, and when


def test_a_model_that_nobody_has_is_freed_at_the_next_look() -> None:
    departed, part = Departed(), Part()
    freed_in, gone = part.freed_in, weakref.ref(part)
    departed.keep(handle(Model(part=part)))
    del part
    assert gone() is not None
    assert departed.is_waiting
    assert departed.tend() is None
    assert gone() is None
    assert not departed.is_waiting
    assert freed_in == [threading.current_thread()]


@pytest.mark.parametrize("what", ["the handle", "the model"])
def test_a_model_that_a_request_still_has_is_freed_after_it_and_not_by_it(what: str) -> None:
    departed, part = Departed(), Part()
    freed_in = part.freed_in
    kept = handle(Model(part=part))
    del part
    departed.keep(kept)
    request = [kept if what == "the handle" else kept.model]
    del kept
    assert departed.tend() == FIRST_PAUSE_SECONDS
    serving = threading.Thread(target=request.clear)
    serving.start()
    serving.join()
    assert freed_in == []
    assert departed.tend() is None
    assert freed_in == [threading.current_thread()]


def test_it_looks_less_and_less_often() -> None:
    departed, used = Departed(), handle(Model())
    departed.keep(used)
    pauses = [departed.tend() for _ in range(12)]
    assert pauses[:3] == [FIRST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2, FIRST_PAUSE_SECONDS * 4]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    departed.keep(handle(Model()))
    assert departed.tend() == FIRST_PAUSE_SECONDS   # another one: look soon again


def test_a_model_that_is_part_of_a_cycle_is_not_kept_for_ever() -> None:
    model = Model()
    model.answer = model.__init__   # type: ignore[attr-defined,misc]
    gone = weakref.ref(model)
    departed = Departed(patience_seconds=0.0)
    departed.keep(handle(model))
    del model
    assert departed.tend() is None
    gc.collect()
    assert gone() is None


def test_of_many_that_left_in_a_row_only_the_last_ones_wait() -> None:
    departed, used = Departed(), [handle(Model()) for _ in range(MOST_KEPT + 3)]
    gone = [weakref.ref(one.model) for one in used]
    for one in used:
        departed.keep(one)
    del one
    used.clear()
    assert [reference() is None for reference in gone] == [True] * 3 + [False] * MOST_KEPT
    departed.forget()
    assert all(reference() is None for reference in gone)
    assert departed.tend() is None


# --------------------------------------------------------------------------- how it is freed


def test_everything_is_freed_whatever_it_is_nested_in() -> None:
    parts = [Part() for _ in range(8)]
    gone, logs = [weakref.ref(part) for part in parts], [part.freed_in for part in parts]
    a, b, c, d, e, f, g, h = parts
    pile: list[Any] = [Model(
        list=[a, {"b": b}], tuple=(c, [d]), set={e}, nested=Model(inner=Model(part=f)),
        many={number: [number] for number in range(MANY)} | {"g": g, "h": [h] * 300},
    )]
    del parts, a, b, c, d, e, f, g, h
    take_apart(pile)
    assert pile == []
    assert all(reference() is None for reference in gone)
    assert all(log == [threading.current_thread()] for log in logs)


def test_what_somebody_else_has_stays_whole() -> None:
    table = {number: [number] for number in range(MANY)}
    inner = [table, "more"]
    attributes: dict[str, Any] = {"inner": inner}
    model = Model()
    model.__dict__ = attributes
    take_apart([model, {"table": table}, [inner], (inner,)])
    assert len(table) == MANY
    assert inner == [table, "more"]
    assert attributes == {"inner": inner}
    assert model.inner is inner   # type: ignore[attr-defined]


def test_an_object_is_finalized_while_it_still_has_its_attributes() -> None:
    seen = []

    class Closing:
        def __init__(self) -> None:
            self.table = dict.fromkeys(range(MANY))

        def __del__(self) -> None:
            seen.append(len(self.table))

    take_apart([Closing()])
    assert seen == [MANY]


def test_an_object_that_comes_back_to_life_keeps_its_attributes() -> None:
    saved: list[Any] = []

    class Undead:
        def __init__(self) -> None:
            self.table = dict.fromkeys(range(MANY))

        def __del__(self) -> None:
            saved.append(self)

    take_apart([Undead()])
    assert len(saved[0].table) == MANY


def test_a_set_that_somebody_watches_is_freed_as_ever() -> None:
    watched = set(range(MANY))
    gone = weakref.ref(watched)
    pile: list[Any] = [watched]
    del watched
    take_apart(pile)
    assert gone() is None


def test_a_deep_nest_needs_no_deep_stack() -> None:
    nest: list[Any] = []
    for _ in range(100_000):
        nest = [nest]
    pile: list[Any] = [nest]
    del nest
    take_apart(pile)
    assert pile == []


def test_a_class_that_answers_for_its_attributes_itself_disturbs_nothing() -> None:
    class Odd:
        @property
        def __dict__(self) -> dict[str, Any]:   # type: ignore[override]
            raise RuntimeError("no")

    class Base:
        pass

    pile: list[Any] = [Odd(), Base, type("Made", (Base,), {}), lambda: None, 1, None, "text"]
    take_apart(pile)
    assert pile == []
