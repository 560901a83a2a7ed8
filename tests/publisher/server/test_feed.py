"""Chunks by digest, and the index."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.fakes.publisher_sim import Release
from tests.fakes.site import Client, Site

from modelcast.shared.digest import digest
from modelcast.shared.roads import open_road


def test_a_chunk_is_sent_as_it_is_with_its_length_and_for_ever(client: Client, release: Release, model: str) -> None:
    body = release.chunks()[0]
    answer = client.get(f"/models/{model}/chunks/{digest(body).hex()}")
    assert answer.content == body
    assert answer.headers["Content-Length"] == str(len(body))
    assert (answer.headers["Modelcast-Codec"], answer.headers["ETag"]) == ("none", f'"{digest(body).hex()}"')
    assert "immutable" in answer.headers["Cache-Control"]
    again = client.get(f"/models/{model}/chunks/{digest(body).hex()}", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


def test_a_transfer_that_broke_goes_on_by_range(client: Client, release: Release, model: str) -> None:
    body = release.chunks()[0]
    headers = {"Range": "bytes=400-", "If-Range": f'"{digest(body).hex()}"'}
    answer = client.get(f"/models/{model}/chunks/{digest(body).hex()}", headers=headers)
    assert (answer.status_code, answer.content, answer.headers["Content-Range"]) == (206, body[400:], "bytes 400-999/1000")


@pytest.mark.parametrize(("name", "status"), [("0" * 64, 404), ("x", 400), ("A" * 64, 400), ("0" * 64 + "?codec=gzip", 400)])
def test_what_is_no_chunk_is_not_found(client: Client, release: Release, model: str, name: str, status: int) -> None:
    assert client.get(f"/models/{model}/chunks/{name}").status_code == status


@pytest.mark.parametrize("name", ["..%2f..%2ftokens", "%2e%2e", "a%00b", "Fraud"])
def test_a_model_that_is_no_name_reaches_no_file(client: Client, name: str) -> None:
    assert client.get(f"/models/{name}/chunks/{'0' * 64}").status_code in {400, 404}


def test_several_chunks_come_by_one_answer_in_the_order_in_which_they_were_asked_for(client: Client, release: Release, model: str) -> None:
    bodies = [release.chunks()[number] for number in (2, 0, 2)]
    answer = client.get(f"/models/{model}/chunks:batch?chunks={','.join(digest(body).hex() for body in bodies)}")
    assert (answer.status_code, answer.content) == (200, b"".join(bodies))
    assert answer.headers["Content-Length"] == str(len(answer.content))


def test_a_batch_is_all_of_its_chunks_or_none(client: Client, release: Release, model: str) -> None:
    there, packed = digest(release.chunks()[0]).hex(), digest(release.chunks()[1]).hex() + "-zstd"
    for missing in ("0" * 64, packed):   # that one is there, but not packed
        answer = client.get(f"/models/{model}/chunks:batch?chunks={there},{missing},{'1' * 64}")
        assert answer.status_code == 404
        assert missing in answer.json()["detail"]


@pytest.mark.parametrize("listed", ["", "x", "A" * 64, ",", "0" * 64 + ",", "0" * 64 + "-gzip", ",".join(["0" * 64] * 65)])
def test_what_is_no_list_of_chunks_is_400(client: Client, release: Release, model: str, listed: str) -> None:
    assert client.get(f"/models/{model}/chunks:batch?chunks={listed}").status_code == 400


def test_the_index_tells_in_pages_what_came_when(client: Client, release: Release, model: str) -> None:
    whole = client.wire(f"/models/{model}/chunks")
    assert [entry["kind"] for entry in whole["entries"]] == ["begin", "chunk", "chunk", "chunk", "chunk", "end"]
    assert whole["entries"][1] == {
        "offset": 1, "kind": "chunk", "digest": digest(release.chunks()[0]).hex(), "size": 1000, "codec": "none", "version": "1.0.0", "index": 0,
    }
    pages = [client.wire(f"/models/{model}/chunks?from={offset}&limit=4") for offset in (0, 4)]
    assert [len(page["entries"]) for page in pages] == [4, 2]
    assert (pages[0]["next"], pages[1]["next"], pages[1]["end"]) == (4, 6, 6)


def test_who_waits_hears_of_chunks_from_either_road(site: Site, client: Client, release: Release, model: str) -> None:
    road = open_road(f"file://{site.root}").publish(model, "production")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.wire, f"/models/{model}/chunks?from=6&wait=20")
        road.chunks.mark()
        assert [entry["kind"] for entry in waiting.result(30)["entries"]] == ["begin"]
    road.close()


def test_a_model_that_nobody_published_has_no_index(client: Client) -> None:
    assert client.get("/models/nothing/chunks").status_code == 404
