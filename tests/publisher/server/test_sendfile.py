"""Files into a connection without a copy."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from modelcast.publisher.server.sendfile import FileSender

CONTENT = os.urandom(3_000_000)


def sent_to(take, path: Path, offset: int, count: int, stall_seconds: float = 5.0) -> bool:
    """Send a file to a client that is the coroutine ``take``; returns what the sender said."""

    async def scene() -> bool:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        theirs.setblocking(False)
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        sender, file = FileSender(transport, stall_seconds), os.open(path, os.O_RDONLY)
        taking = asyncio.create_task(take(theirs))
        try:
            return await sender.send(file, offset, count)
        finally:
            sender.close()
            sender.close()   # twice does nothing
            os.close(file)
            transport.close()
            await taking
            theirs.close()

    return asyncio.run(scene())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def test_all_bytes_arrive_however_small_the_sockets_are(path: Path) -> None:
    got = bytearray()

    async def take(connection: socket.socket) -> None:
        while piece := await asyncio.get_running_loop().sock_recv(connection, 10_000):
            got.extend(piece)

    assert sent_to(take, path, 1000, 2_500_000)
    assert bytes(got) == CONTENT[1000:2_501_000]


async def nothing(connection: socket.socket) -> None:
    """Take nothing."""


def test_a_client_that_takes_nothing_is_given_up(path: Path) -> None:
    assert not sent_to(nothing, path, 0, len(CONTENT), stall_seconds=0.05)


def test_a_client_that_goes_is_noticed(path: Path) -> None:
    async def go(connection: socket.socket) -> None:
        connection.close()

    assert not sent_to(go, path, 0, len(CONTENT))


def test_a_file_that_is_shorter_than_it_should_be_is_no_success(path: Path) -> None:
    async def take(connection: socket.socket) -> None:
        while await asyncio.get_running_loop().sock_recv(connection, 100_000):
            pass

    assert not sent_to(take, path, 0, len(CONTENT) + 1)
