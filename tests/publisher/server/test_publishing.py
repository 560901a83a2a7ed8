"""A publisher's session: register, chunks, orders."""

from threading import Event, Lock, Thread
from typing import Any

import msgpack
import pytest
from tests.fakes.publisher_sim import PublisherSimulator, Release
from tests.fakes.site import Client, Site
from tests.publisher.server.test_joining import eventually

from modelcast.publisher.catalog import Begun, Ordered, Withdrawal
from modelcast.publisher.retirement import Retired
from modelcast.publisher.server import uploading
from modelcast.shared.compression import pack_chunk
from modelcast.shared.digest import digest
from modelcast.shared.http_publishing import LINES
from modelcast.shared.http_sending import BATCH_BYTES
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.roads import open_road

BODY = bytes(range(256)) * 4


def test_a_session_is_one_publishers_alone_and_then_the_next_ones(site: Site, client: Client, model: str) -> None:
    assert client.begin(model).json()["lease_seconds"] == 30
    with site.client() as other:
        busy = other.begin(model)
        assert (busy.status_code, busy.headers["Retry-After"]) == (409, "1")
        client.end(model)
        assert other.begin(model).status_code == 201
        other.end(model)


def test_a_publisher_on_the_directory_is_kept_out_and_keeps_out(site: Site, client: Client, model: str) -> None:
    from modelcast.shared.errors import PublisherBusy

    road = open_road(f"file://{site.root}")
    session = road.publish(model, "production")
    assert client.begin(model).status_code == 409
    session.close()
    assert client.begin(model).status_code == 201
    with pytest.raises(PublisherBusy):
        road.publish(model, "production")


@pytest.mark.parametrize(("session", "status"), [(None, 400), ("0" * 32, 409)])
def test_nothing_is_done_without_a_session_or_in_one_that_is_over(client: Client, model: str, session: str | None, status: int) -> None:
    headers = {"Modelcast-Session": session} if session else {}
    assert client.post(f"/models/{model}/chunks:mark", headers=headers).status_code == status
    assert client.put(model, BODY, **headers).status_code == status
    assert client.post(f"/models/{model}/channels/production/orders", data=b"1", headers=headers).status_code == status


def test_ending_a_session_that_is_over_does_nothing(client: Client, model: str) -> None:
    client.begin(model)
    assert client.ask("DELETE", f"/models/{model}/publishing/nobodys").status_code == 204
    assert client.post(f"/models/{model}/chunks:mark").status_code == 200


# --------------------------------------------------------------------------- register


def test_records_come_back_as_they_were_appended(client: Client, model: str) -> None:
    client.begin(model)
    records = [b"record 1", b"record 2", Begun("1.0.0", 7).to_bytes()]
    for record in records:
        assert client.post(f"/models/{model}/register", data=record).status_code == 204
    assert client.wire(f"/models/{model}/register") == {"next": None, "records": records}
    assert client.wire(f"/models/{model}/register?from=3")["records"] == records[2:]


@pytest.mark.parametrize("record", [
    Ordered("production", 1, "0" * 64, 0).to_bytes(), Withdrawal("production", "0" * 64, "1.0.0", 0).to_bytes(),
    Retired("production", "web-1", "00" * 8, 0, 0).to_bytes(),
])
def test_a_record_of_a_channel_needs_the_right_to_order(site: Site, client: Client, model: str, record: bytes) -> None:
    client.begin(model)
    with site.client(f"publish:{model}", f"promote:{model}/staging") as trainer, site.client(f"promote:{model}") as operator:
        trainer.session = operator.session = client.session
        assert trainer.post(f"/models/{model}/register", data=record).status_code == 403
        assert operator.post(f"/models/{model}/register", data=record).status_code == 204
        assert operator.post(f"/models/{model}/register", data=Begun("1.0.0", 7).to_bytes()).status_code == 403


def test_a_long_register_comes_in_pages(tmp_path) -> None:
    from modelcast.publisher.server.settings import ServerLimits

    with Site(tmp_path / "depot", ServerLimits(answer_bytes=10)) as site, site.client() as client:
        client.begin("fraud")
        for number in range(5):
            client.post("/models/fraud/register", data=b"record %d" % number)
        pages = [client.wire("/models/fraud/register")]
        while pages[-1]["next"] is not None:
            pages.append(client.wire(f"/models/fraud/register?from={pages[-1]['next']}"))
        assert len(pages) == 3
        assert [record for page in pages for record in page["records"]] == [b"record %d" % number for number in range(5)]


# --------------------------------------------------------------------------- chunks


def test_a_chunk_is_created_once_and_then_there(client: Client, model: str) -> None:
    client.begin(model)
    assert [client.put(model, BODY).status_code for _ in range(2)] == [201, 204]
    assert client.get(f"/models/{model}/chunks/{digest(BODY).hex()}").content == BODY


@pytest.mark.parametrize("codec", ["none", "zstd"])
@pytest.mark.parametrize("body", [b"x", b"other bytes"])
def test_bytes_with_another_digest_are_422_and_nothing_of_them_is_kept(site: Site, client: Client, model: str, codec: str, body: bytes) -> None:
    client.begin(model)
    claim = digest(BODY).hex()
    answer = client.put(model, body, claim=claim, **{"Modelcast-Codec": codec})
    assert (answer.status_code, answer.json()["reason"]) == (422, "chunk-damaged")
    assert client.get(f"/models/{model}/chunks/{claim}").status_code == 404
    assert [path for path in (site.root / "models" / model).rglob("*") if path.is_file() and path.stat().st_size] == []


OTHER = b"other bytes"


def batch(client: Client, model: str, listed: str, body: bytes, **headers: str):
    return client.ask("PUT", f"/models/{model}/chunks:batch", data=body, headers={"Modelcast-Version": "1.2.0", "Modelcast-Chunks": listed, **headers})


def test_several_chunks_are_kept_by_one_request_and_stand_in_the_index_in_their_order(client: Client, model: str) -> None:
    client.begin(model)
    frame = pack_chunk(BODY)
    assert frame is not None
    listed = f"{digest(OTHER).hex()}:{len(OTHER)}:4,{digest(BODY).hex()}-zstd:{len(frame)}:5"
    assert batch(client, model, listed, OTHER + frame).status_code == 204
    told = client.wire(f"/models/{model}/chunks")["entries"]
    assert [(entry["digest"], entry["codec"], entry["index"], entry["version"]) for entry in told] == [
        (digest(OTHER).hex(), "none", 4, "1.2.0"), (digest(BODY).hex(), "zstd", 5, "1.2.0"),
    ]
    assert client.get(f"/models/{model}/chunks/{digest(OTHER).hex()}").content == OTHER


def test_of_a_batch_with_a_damaged_chunk_nothing_is_kept(client: Client, model: str) -> None:
    client.begin(model)
    listed = f"{digest(OTHER).hex()}:{len(OTHER)}:0,{digest(BODY).hex()}:{len(BODY)}:1"
    assert batch(client, model, listed, OTHER + bytes(len(BODY))).status_code == 422
    assert client.wire(f"/models/{model}/chunks")["entries"] == []
    assert client.get(f"/models/{model}/chunks/{digest(OTHER).hex()}").status_code == 404


@pytest.mark.parametrize(
    "listed", ["", "x", f"{'0' * 64}", f"{'0' * 64}:1024", f"{'0' * 64}:1:0", f"{'0' * 64}:1024:0,", f"{'0' * 64}:1024:99999999",
               ",".join([f"{'0' * 64}:1:0"] * 65)],
)
def test_what_is_no_list_of_the_bytes_that_came_is_400(client: Client, model: str, listed: str) -> None:
    client.begin(model)
    assert batch(client, model, listed, BODY).status_code == 400


def test_a_batch_needs_a_session_and_the_right_to_publish_and_has_a_limit(site: Site, client: Client, model: str) -> None:
    assert client.ask("PUT", f"/models/{model}/chunks:batch", data=BODY, headers={"Modelcast-Chunks": "x"}).status_code == 400
    client.begin(model)
    assert batch(client, model, f"{'0' * 64}:1:0", bytes(BATCH_BYTES + 1)).status_code == 413
    with site.client(f"fetch:{model}") as reader:
        reader.session = client.session
        assert batch(reader, model, f"{digest(BODY).hex()}:{len(BODY)}:0", BODY).status_code == 403


def test_one_session_keeps_no_more_of_the_servers_threads_busy_than_a_publisher_has_batches(
    site: Site, client: Client, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.begin(model)
    whole, inside, most, may_go, changing = uploading._check, 0, 0, Event(), Lock()

    def check(*arguments: Any) -> None:
        nonlocal inside, most
        with changing:
            inside += 1
            most = max(most, inside)
        may_go.wait(20)
        whole(*arguments)
        with changing:
            inside -= 1

    monkeypatch.setattr(uploading, "_check", check)
    others = [site.client() for _ in range(6)]
    for other in others:
        other.session = client.session
    answers = list[int]()
    sending = [
        Thread(target=lambda other=other: answers.append(batch(other, model, f"{digest(BODY).hex()}:{len(BODY)}:0", BODY).status_code))
        for other in others
    ]
    for each in sending:
        each.start()
    buffers = site.server._service.buffers
    eventually(lambda: buffers._lent == 6 and inside >= LINES)   # all bodies are there
    may_go.set()
    for each in sending:
        each.join(20)
    assert (answers, most) == ([204] * 6, LINES)


def test_nothing_is_no_chunk_no_order_and_no_record(client: Client, model: str) -> None:
    client.begin(model)
    assert client.put(model, b"").status_code == 400
    for path in ("register", "channels/production/orders"):
        assert client.post(f"/models/{model}/{path}").status_code == 400


def test_a_frame_is_kept_under_the_digest_of_what_is_in_it(client: Client, model: str) -> None:
    client.begin(model)
    frame, claim = pack_chunk(bytes(4096)), digest(bytes(4096)).hex()
    assert frame is not None
    assert client.put(model, frame, claim=claim, **{"Modelcast-Codec": "zstd"}).status_code == 201
    answer = client.get(f"/models/{model}/chunks/{claim}")
    assert (answer.content, answer.headers["Modelcast-Codec"]) == (frame, "zstd")
    assert client.get(f"/models/{model}/chunks/{claim}?codec=none").status_code == 404


def test_a_frame_that_claims_to_hold_more_than_a_chunk_is_422(client: Client, model: str) -> None:
    import zstandard

    client.begin(model)
    huge = bytes(DEFAULT_LIMITS.chunk_bytes + 1)
    answer = client.put(model, zstandard.ZstdCompressor().compress(huge), claim=digest(huge).hex(), **{"Modelcast-Codec": "zstd"})
    assert answer.status_code == 422


def test_a_chunk_over_the_limit_is_413_before_it_is_sent(client: Client, model: str) -> None:
    client.begin(model)
    answer = client.put(model, bytes(DEFAULT_LIMITS.chunk_bytes + 1))
    assert (answer.status_code, answer.json()["max_bytes"]) == (413, DEFAULT_LIMITS.chunk_bytes)


@pytest.mark.parametrize("name", ["Modelcast-Codec", "Modelcast-Index", "Modelcast-Count", "Modelcast-Version"])
def test_a_header_that_says_nothing_is_400(client: Client, model: str, name: str) -> None:
    client.begin(model)
    assert client.put(model, BODY, **{name: "nonsense"}).status_code == 400


def test_what_is_held_is_read_and_compared(site: Site, client: Client, model: str) -> None:
    client.begin(model)
    frame = pack_chunk(bytes(4096))
    assert frame is not None
    mark = client.post(f"/models/{model}/chunks:mark").json()["offset"]
    client.put(model, BODY)
    client.put(model, b"soon damaged")
    client.put(model, frame, claim=digest(bytes(4096)).hex(), **{"Modelcast-Codec": "zstd"})
    name = digest(b"soon damaged").hex()
    (site.root / "models" / model / "chunks" / name[:2] / name).write_bytes(b"SOON DAMAGED")
    assert client.wire(f"/models/{model}/chunks:held?from={mark}") == {"next": None, "digests": [digest(BODY), digest(bytes(4096))]}


def test_the_end_of_a_release_names_it(client: Client, release: Release, model: str) -> None:
    entries = client.wire(f"/models/{model}/chunks")["entries"]
    assert entries[-1] == {"offset": len(entries) - 1, "kind": "end", "release": release.id}


@pytest.mark.parametrize("fields", [{}, {"release": 7}, {"release": "x"}, {"release": "G" * 64}])
def test_an_end_that_names_no_release_is_400(client: Client, model: str, fields: dict[str, object]) -> None:
    client.begin(model)
    assert client.post(f"/models/{model}/chunks:finish", json=fields).status_code == 400


def test_small_bodies_may_be_msgpack_too(client: Client, model: str) -> None:
    kinds = {"Content-Type": "application/vnd.modelcast", "Accept": "application/vnd.modelcast"}
    answer = client.post(f"/models/{model}/publishing", data=msgpack.packb({"channel": "production"}), headers=kinds)
    assert answer.status_code == 201
    assert set(msgpack.unpackb(answer.content)) == {"session", "lease_seconds", "retention_bytes", "lets_order"}


# --------------------------------------------------------------------------- orders


def test_an_order_is_a_file_that_an_instance_of_the_directory_finds(site: Site, client: Client, sim: PublisherSimulator, model: str) -> None:
    client.begin(model)
    assert client.post(f"/models/{model}/channels/production/orders", data=b"order").status_code == 204
    assert (site.root / "models" / model / "channels/production/orders/000000000001").read_bytes() == b"order"
    assert client.post(f"/models/{model}/channels/production/announcements", data=b"soon").status_code == 204


def test_an_order_over_the_limit_is_413(client: Client, model: str) -> None:
    client.begin(model)
    body = iter([bytes(DEFAULT_LIMITS.order_bytes), b"1"])   # in pieces: nothing says beforehand how long it is
    answer = client.post(f"/models/{model}/channels/production/orders", data=body)
    assert answer.status_code == 413
