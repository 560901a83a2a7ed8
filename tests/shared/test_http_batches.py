"""Several chunks by one request: given out in their order, and one by one where they cannot come together."""

from urllib.parse import unquote

import pytest
from tests.fakes.http_peer import Cut, HttpPeer, Request, problem, reply

from modelcast.shared.digest import digest
from modelcast.shared.http_batches import ChunkBatch, Listed, next_batch_bytes
from modelcast.shared.http_getting import ChunkGetter
from modelcast.shared.limits import MIB

BODIES = [bytes([number]) * (1000 + number) for number in range(5)]
NAMES = {digest(body).hex(): body for body in BODIES}


def answer(request: Request) -> bytes:
    if "/chunks:batch" in request.target:
        return reply(200, b"".join(NAMES[name.removesuffix("-zstd")] for name in unquote(request.target.partition("?chunks=")[2]).split(",")))
    path, _, codec = request.target.partition("?codec=")
    return reply(200, NAMES[path.rpartition("/")[2]], {"Modelcast-Codec": codec})


def listed(*, is_packed: bool = False) -> list[Listed]:
    return [Listed(digest(body).hex(), len(body), is_packed) for body in BODIES]


def play(answering, wanted: list[Listed]) -> tuple[list[tuple[bytes, bool] | None], list[str]]:
    """Return what came, and what was asked for."""
    peer = HttpPeer(answering)
    line = peer.server().line()
    batch, found = ChunkBatch(ChunkGetter("fraud"), line, "fraud", wanted), []
    while not batch.is_done:
        assert batch.has_answer(20.0)
        got = batch.receive()
        found.append(None if got is None else (bytes(got[0]), got[1]))
    line.close()
    peer.close()
    return found, [unquote(request.target) for request in peer.requests]


def test_several_chunks_are_one_request() -> None:
    found, asked = play(answer, listed())
    assert found == [(body, False) for body in BODIES]
    assert asked == [f"/v1/models/fraud/chunks:batch?chunks={','.join(NAMES)}"]


def test_packed_chunks_are_named_so() -> None:
    found, asked = play(answer, listed(is_packed=True))
    assert found == [(body, True) for body in BODIES]
    assert asked[0].count("-zstd") == 5


def test_a_single_chunk_is_asked_for_by_its_own_name() -> None:
    found, asked = play(answer, listed()[:1])
    assert found == [(BODIES[0], False)]
    assert asked == [f"/v1/models/fraud/chunks/{digest(BODIES[0]).hex()}?codec=none"]


@pytest.mark.parametrize("told", [problem(404), problem(501), reply(200, b"too short")])
def test_what_cannot_come_together_comes_one_by_one(told: bytes) -> None:
    found, asked = play(lambda request: told if "batch" in request.target else answer(request), listed())
    assert found == [(body, False) for body in BODIES]
    assert len(asked) == 1 + 5


def test_a_busy_server_is_asked_for_all_of_them_again_and_not_for_each() -> None:
    told = [problem(503, {"Retry-After": "0"}), problem(429, {"Retry-After": "0"})]
    found, asked = play(lambda request: told.pop() if told else answer(request), listed())
    assert found == [(body, False) for body in BODIES]
    assert len(asked) == 3


def test_after_a_break_the_rest_comes_one_by_one_and_a_chunk_that_is_gone_is_none() -> None:
    def broken(request: Request) -> bytes:
        if "batch" in request.target:
            return Cut(answer(request)[: -len(BODIES[4]) - len(BODIES[3]) // 2])
        return problem(404) if request.target.startswith(f"/v1/models/fraud/chunks/{digest(BODIES[4]).hex()}") else answer(request)

    found, asked = play(broken, listed())
    assert found == [*((body, False) for body in BODIES[:4]), None]
    assert len(asked) == 3


@pytest.mark.parametrize(("seconds", "mebibytes"), [(0.0, 16), (1.9, 16), (2.0, 8), (8.0, 8), (8.1, 2), (600.0, 2)])
def test_what_is_asked_for_together_depends_on_how_fast_it_came(seconds: float, mebibytes: int) -> None:
    assert next_batch_bytes(seconds) == mebibytes * MIB
