"""Errors as they are told."""

import json

import pytest

from modelcast.publisher.server.problems import TITLES, Problem, bare, status_of
from modelcast.shared.errors import DepotUnusable, InvalidName, ModelcastError, NotFound, PublisherBusy, SenderFault, StorageFault
from modelcast.shared.reasons import Reason


@pytest.mark.parametrize(("error", "status"), [
    (NotFound("x"), 404), (PublisherBusy("x"), 409), (SenderFault(Reason.MALFORMED, "x"), 422), (StorageFault("x"), 503),
    (DepotUnusable("x"), 503), (InvalidName("x"), 400), (ModelcastError("x"), 500),
])
def test_each_family_has_its_status(error: ModelcastError, status: int) -> None:
    assert status_of(error) == status
    assert status in TITLES


def test_a_problem_says_what_and_what_to_do_next_and_why() -> None:
    document = Problem.of(SenderFault(Reason.CHUNK_DAMAGED, "Other bytes.", hint="Send them again.")).document()
    assert (document["status"], document["detail"], document["hint"], document["reason"]) == (422, "Other bytes.", "Send them again.", "chunk-damaged")


def test_paths_of_the_servers_disk_are_not_told() -> None:
    told = json.dumps(Problem.of(StorageFault("Cannot write /srv/models/x: full.", facts={"path": "/srv/models/x"})).document())
    assert "/srv" not in told


def test_an_answer_without_an_application_is_whole() -> None:
    head, _, body = bare(503, "Too many.").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body)["detail"] == "Too many."
