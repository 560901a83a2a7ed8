"""What people and programs read: models, releases, manifests, files, channels."""

import pytest
from tests.fakes.publisher_sim import PublisherSimulator, Release
from tests.fakes.site import Client, Site

from modelcast.shared.depot.disk import Disk

from .conftest import published


def test_a_model_is_listed_with_its_latest_version(client: Client, release: Release, model: str) -> None:
    listed = {entry["model"]: entry for entry in client.get("/models").json()["models"]}
    assert listed[model] == {"model": model, "latest": "1.0.0", "releases": 1}


def test_releases_are_listed_lowest_version_first(client: Client, sim: PublisherSimulator, model: str) -> None:
    for version in ("1.10.0", "1.2.0"):
        published(client, sim.release(version), model)
    assert [entry["version"] for entry in client.get(f"/models/{model}/releases").json()["releases"]] == ["1.2.0", "1.10.0"]


def test_a_model_that_is_made_anew_is_not_taken_for_the_one_before_though_its_folder_has_the_same_number(
    client: Client, release: Release, sim: PublisherSimulator, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Disk, "identity_of", lambda self, path: (1, 1))   # as file systems that give a number again at once
    assert [entry["version"] for entry in client.get(f"/models/{model}/releases").json()["releases"]] == ["1.0.0"]
    assert client.ask("DELETE", f"/models/{model}").status_code == 204
    published(client, sim.release("2.0.0"), model)
    assert [entry["version"] for entry in client.get(f"/models/{model}/releases").json()["releases"]] == ["2.0.0"]


@pytest.mark.parametrize("by", ["version", "id"])
def test_a_release_is_found_by_version_and_by_id(client: Client, release: Release, model: str, by: str) -> None:
    name = release.version if by == "version" else release.id
    found = client.get(f"/models/{model}/releases/{name}").json()
    assert (found["version"], found["release"], found["bytes"]) == ("1.0.0", release.id, 3600)
    assert [entry["path"] for entry in found["files"]] == ["model.bin"]


def test_a_version_that_is_none_is_404_and_lists_what_there_is(client: Client, release: Release, model: str) -> None:
    answer = client.get(f"/models/{model}/releases/9.9.9")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["hint"] == "There are: 1.0.0."
    assert answer.json()["versions"] == ["1.0.0"]


def test_a_model_that_is_none_is_404_and_lists_only_what_the_token_reaches(site: Site, release: Release, model: str) -> None:
    with site.client(f"fetch:{model}", "fetch:nothing") as client:
        answer = client.get("/models/nothing/releases")
        assert (answer.status_code, answer.json()["models"]) == (404, [model])


def test_the_manifest_is_the_envelope_as_it_was_signed_and_is_kept_for_ever(client: Client, release: Release, model: str) -> None:
    answer = client.get(f"/models/{model}/releases/{release.id}/manifest")
    assert answer.content == release.envelope
    assert answer.headers["ETag"] == f'"{release.id}"'
    assert "immutable" in answer.headers["Cache-Control"]
    again = client.get(f"/models/{model}/releases/{release.id}/manifest", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_by_version_the_manifest_is_asked_for_again_because_another_key_may_sign_it(client: Client, release: Release, model: str) -> None:
    assert client.get(f"/models/{model}/releases/1.0.0/manifest").headers["Cache-Control"] == "no-cache"


# --------------------------------------------------------------------------- files


def test_a_file_is_put_together_from_its_chunks(client: Client, release: Release, model: str) -> None:
    answer = client.get(f"/models/{model}/releases/1.0.0/files/model.bin")
    assert answer.content == release.files["model.bin"]
    assert (answer.headers["Content-Length"], answer.headers["Accept-Ranges"]) == ("3600", "bytes")


@pytest.mark.parametrize(("asked", "start", "end"), [("0-0", 0, 1), ("990-2010", 990, 2011), ("3500-9999", 3500, 3600), ("-10", 3590, 3600)])
def test_a_range_of_a_file_may_cross_chunks(client: Client, release: Release, model: str, asked: str, start: int, end: int) -> None:
    answer = client.get(f"/models/{model}/releases/1.0.0/files/model.bin", headers={"Range": f"bytes={asked}"})
    assert answer.status_code == 206
    assert answer.content == release.files["model.bin"][start:end]
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/3600"


def test_a_range_beyond_the_end_is_416_and_says_how_much_there_is(client: Client, release: Release, model: str) -> None:
    answer = client.get(f"/models/{model}/releases/1.0.0/files/model.bin", headers={"Range": "bytes=3600-"})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */3600")


def test_a_range_of_bytes_that_have_changed_gets_the_whole(client: Client, release: Release, model: str) -> None:
    headers = {"Range": "bytes=0-9", "If-Range": '"another"'}
    assert client.get(f"/models/{model}/releases/1.0.0/files/model.bin", headers=headers).status_code == 200


def test_head_tells_the_size_and_sends_nothing(client: Client, release: Release, model: str) -> None:
    answer = client.ask("HEAD", f"/models/{model}/releases/1.0.0/files/model.bin")
    assert (answer.status_code, answer.headers["Content-Length"], answer.content) == (200, "3600", b"")
    assert client.get("/health").json()["status"] == "ok"   # on the same connection: no body came after it


def test_a_file_that_is_none_is_404_and_lists_what_there_is(client: Client, release: Release, model: str) -> None:
    answer = client.get(f"/models/{model}/releases/1.0.0/files/no/such")
    assert (answer.status_code, answer.json()["hint"]) == (404, "There are: model.bin.")


def test_packed_chunks_are_unpacked_on_the_way_into_a_file(site: Site, client: Client, sim: PublisherSimulator, model: str) -> None:
    from modelcast.shared.compression import pack_chunk
    from modelcast.shared.digest import digest

    release = sim.release("1.0.0", {"model.bin": bytes(3600)})
    frames = {digest(body).hex(): pack_chunk(body) for body in release.chunks()}
    published(client, release, model)
    client.begin(model)
    for path in (site.root / "models" / model).glob("chunks/*/*"):   # only the packed ones are left
        path.unlink()
    for claim, frame in frames.items():
        assert frame is not None
        assert client.put(model, frame, claim=claim, **{"Modelcast-Codec": "zstd"}).status_code == 201
    answer = client.get(f"/models/{model}/releases/1.0.0/files/model.bin", headers={"Range": "bytes=900-1100"})
    assert (answer.status_code, answer.content) == (206, bytes(201))


# --------------------------------------------------------------------------- channels


def test_a_channel_shows_what_it_was_last_ordered_to_run(client: Client, sim: PublisherSimulator, release: Release, model: str) -> None:
    client.begin(model)
    for sequence in (1, 2):
        assert client.post(f"/models/{model}/channels/production/orders", data=sim.order(release, sequence=sequence)).status_code == 204
    shown = client.get(f"/models/{model}/channels").json()["channels"]["production"]
    assert (shown["version"], shown["release"], shown["sequence"], shown["kind"]) == ("1.0.0", release.id, 2, "promotion")


def test_a_channel_without_an_order_shows_none(client: Client, release: Release, model: str) -> None:
    assert client.get(f"/models/{model}/channels").json()["channels"] == {"production": None}
