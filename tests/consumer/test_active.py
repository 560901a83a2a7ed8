"""The slot: swapped whole, read without waiting, and what is held stays."""

import gc
import threading
import weakref
from dataclasses import FrozenInstanceError

import pytest
from tests.fakes.specimens import manifest

from modelcast.consumer.active import Slot


class Model:
    """Can be referred to weakly."""


def test_an_empty_slot_is_not_filled() -> None:
    slot = Slot()
    assert slot.active is None
    assert not slot.filled.is_set()


def test_a_swap_shows_everything_at_once_with_the_next_generation() -> None:
    slot = Slot()
    first = slot.swap("one", manifest(version="1.0.0"), "a" * 64)
    second = slot.swap("two", manifest(version="2.0.0"), "b" * 64)
    assert slot.active is second
    assert slot.filled.is_set()
    assert (first.model, first.version, first.release, first.generation) == ("one", "1.0.0", "a" * 64, 1)
    assert (second.model, second.version, second.release, second.generation) == ("two", "2.0.0", "b" * 64, 2)


def test_what_is_in_service_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Slot().swap("one", manifest(), "a" * 64).version = "9.9.9"   # type: ignore[misc]


def test_a_model_lives_as_long_as_somebody_holds_it_and_no_longer() -> None:
    slot, model = Slot(), Model()
    reference = weakref.ref(model)
    held = slot.swap(model, manifest(), "a" * 64)
    del model
    slot.swap(Model(), manifest(), "b" * 64)
    slot.departed.tend()
    gc.collect()
    assert reference() is held.model
    del held
    assert reference() is not None   # whoever served it last does not have to free it
    slot.departed.tend()
    gc.collect()
    assert reference() is None


def test_readers_never_see_half_a_swap() -> None:
    slot = Slot()
    slot.swap(0, manifest(version="0.0.0"), f"{0:064}")
    stop, torn = threading.Event(), list[object]()

    def read() -> None:
        while not stop.is_set():
            active = slot.active
            if active is None or not active.version.startswith(f"{active.model}.") or int(active.release) != active.model:
                torn.append(active)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 300):
        slot.swap(number, manifest(version=f"{number}.0.0"), f"{number:064}")
    stop.set()
    for reader in readers:
        reader.join()
    assert torn == []
