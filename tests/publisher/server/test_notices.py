"""One watch for all who wait."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from modelcast.publisher.server.notices import Notices


def run(scene: Callable[[Notices], Awaitable[None]], poll_seconds: float | None = None) -> None:
    async def whole() -> None:
        notices = Notices(poll_seconds)
        try:
            async with asyncio.timeout(20):
                await scene(notices)
        finally:
            notices.close()

    asyncio.run(whole())


@pytest.mark.parametrize("poll_seconds", [None, 0.02], ids=["told", "polled"])
def test_a_file_that_somebody_writes_ends_the_wait(tmp_path: Path, poll_seconds: float | None) -> None:
    async def scene(notices: Notices) -> None:
        with notices.at([tmp_path], lambda: len(list(tmp_path.iterdir()))) as topic:
            await topic.changed(0)   # the first look
            waiting = asyncio.create_task(topic.changed(topic.count))
            await asyncio.to_thread((tmp_path / "new").touch)
            await waiting

    run(scene, poll_seconds)


def test_what_this_server_does_ends_the_wait_without_a_look(tmp_path: Path) -> None:
    async def scene(notices: Notices) -> None:
        with notices.at([tmp_path], lambda: None) as topic:
            waiting = [asyncio.create_task(topic.changed(topic.count)) for _ in range(3)]
            await asyncio.sleep(0)
            notices.tell(tmp_path)
            await asyncio.gather(*waiting)

    run(scene, 3600)


def test_a_change_between_the_look_and_the_wait_is_not_missed(tmp_path: Path) -> None:
    async def scene(notices: Notices) -> None:
        with notices.at([tmp_path], lambda: None) as topic:
            count = topic.count
            notices.tell(tmp_path)
            await topic.changed(count)

    run(scene, 3600)


def test_a_change_elsewhere_wakes_nobody(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    async def scene(notices: Notices) -> None:
        with notices.at([tmp_path / "a"], lambda: "same") as one, notices.at([tmp_path / "b"], lambda: len(list((tmp_path / "b").iterdir()))) as two:
            await one.changed(0)
            await two.changed(0)
            before, waiting = one.count, asyncio.create_task(two.changed(two.count))
            await asyncio.to_thread((tmp_path / "b" / "new").touch)
            await waiting
            assert one.count == before

    run(scene)


def test_a_probe_that_fails_wakes_who_waits_so_that_he_sees_for_himself(tmp_path: Path) -> None:
    def fail() -> object:
        raise OSError("away")

    async def scene(notices: Notices) -> None:
        with notices.at([tmp_path], fail) as topic:
            await topic.changed(0)

    run(scene)


def test_a_topic_that_nobody_uses_any_more_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()

    async def scene(notices: Notices) -> None:
        with notices.at([tmp_path], lambda: None):
            pass
        with notices.at([tmp_path / "a"], lambda: None):
            assert set(notices._topics) == {tmp_path / "a"}

    run(scene)
