"""Who keeps out whom, within one process and without a road; tests/contract has the same on every road."""

from pathlib import Path

import pytest

from modelcast.shared.depot.modellocks import ModelLocks
from modelcast.shared.errors import StorageFault
from modelcast.shared.locks import HostLock


def locks(folder: Path, ordering: str = "ordering") -> ModelLocks:
    return ModelLocks(HostLock(folder / "publishing"), HostLock(folder / ordering))


def test_all_of_it_or_nothing(tmp_path: Path) -> None:
    orders, sends, later = locks(tmp_path), locks(tmp_path), locks(tmp_path)
    assert orders.take(sends=False)
    assert (orders.may_send, orders.are_apart) == (False, False)
    assert not sends.take()
    assert (sends.may_send, sends.are_apart) == (False, True)
    orders.release()
    assert later.take()
    assert (later.may_send, later.are_apart) == (True, False)


def test_others_may_order_in_between(tmp_path: Path) -> None:
    sends, orders, another = locks(tmp_path), locks(tmp_path), locks(tmp_path)
    assert sends.take()
    assert not orders.take(sends=False)
    sends.apart()
    assert not another.take()
    assert orders.take(sends=False)
    assert not sends.rejoin()
    orders.release()
    assert sends.rejoin()
    assert not orders.take(sends=False)
    sends.release()
    assert orders.take()


def test_a_lock_that_cannot_be_looked_at_leaves_the_other_one_free(tmp_path: Path) -> None:
    with pytest.raises(StorageFault):
        locks(tmp_path, "nowhere/ordering").take()
    assert locks(tmp_path).take()
