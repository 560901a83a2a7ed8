"""Dead letters of a server: nothing that it says of them is believed."""

import pytest
from tests.fakes.http_peer import HttpPeer, told

from modelcast.shared.errors import MisuseError, NotFound, ProtocolViolation
from modelcast.shared.http_letters import HttpLetterDesk, list_of

LETTER = {"body": b"x", "model": "fraud", "channel": "production", "instance": "a", "died_ms": 5}


@pytest.fixture
def peer():
    """Makes peers that are closed after the test."""
    made: list[HttpPeer] = []
    yield lambda answering: made.append(HttpPeer(answering)) or made[-1]
    for each in made:
        each.close()


@pytest.mark.parametrize("name", [None, 7, "", "../secret", "a/b", "A", "x" * 65, "a?b"])
def test_a_letter_whose_name_is_none_is_neither_sent_back_nor_removed(peer, name: object) -> None:
    there = peer(lambda _request: told(letters=[LETTER | {"id": name}]))
    desk = HttpLetterDesk(there.server())
    (letter,) = desk.read(10)
    for act in (desk.send_back, desk.remove):
        with pytest.raises(MisuseError, match="does not say how"):
            act(letter)
    assert len(there.requests) == 1
    desk.close()


def test_a_letter_is_called_by_the_name_that_the_server_gave_it(peer) -> None:
    there = peer(lambda _request: told(letters=[LETTER | {"id": "0000000001000-ab"}]))
    desk = HttpLetterDesk(there.server())
    (letter,) = desk.read(10)
    desk.send_back(letter)
    desk.remove(letter)
    asked = [(request.method, request.target.partition("?")[0].removeprefix("/v1")) for request in there.requests[1:]]
    assert asked == [("POST", "/dead-letters/0000000001000-ab/replay"), ("DELETE", "/dead-letters/0000000001000-ab")]
    desk.close()


def test_a_letter_of_nobody_goes_nowhere(peer) -> None:
    there = peer(lambda _request: told(letters=[{"body": b"x", "id": "1-a"}]))
    desk = HttpLetterDesk(there.server())
    (letter,) = desk.read(10)
    with pytest.raises(NotFound, match="who refused it"):
        desk.send_back(letter)
    desk.close()


def test_a_list_that_is_none_is_against_the_protocol() -> None:
    assert list_of({"letters": [1]}, "letters") == [1]
    with pytest.raises(ProtocolViolation):
        list_of({"letters": {}}, "letters")
