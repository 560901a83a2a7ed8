"""One server for all tests that need no special one; each test has a model of its own."""

import itertools
from collections.abc import Iterator

import pytest
from tests.fakes.publisher_sim import PublisherSimulator, Release
from tests.fakes.site import Client, Site

from modelcast.publisher.catalog import Released
from modelcast.shared.signing import SigningKey

_numbers = itertools.count()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running server."""
    with Site(tmp_path_factory.mktemp("site") / "depot") as site:
        yield site


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    """A client that may do everything."""
    with site.client() as client:
        yield client


@pytest.fixture
def model() -> str:
    """A model's name that no other test has."""
    return f"model-{next(_numbers)}"


@pytest.fixture
def sim(model: str, signing_key: SigningKey) -> PublisherSimulator:
    """Makes releases of the model."""
    return PublisherSimulator(None, signing_key, model=model)


@pytest.fixture
def release(client: Client, sim: PublisherSimulator, model: str) -> Release:
    """A release 1.0.0 of the model, published by HTTP but not ordered; its session is over."""
    return published(client, sim.release("1.0.0"), model)


def published(client: Client, release: Release, model: str) -> Release:
    """Publish a release."""
    assert client.begin(model).status_code == 201
    assert client.post(f"/models/{model}/chunks:mark").status_code == 200
    for body in release.chunks():
        assert client.put(model, body).status_code in {201, 204}
    assert client.post(f"/models/{model}/chunks:finish", json={"release": release.id}).status_code == 204
    record = Released(release.envelope, 0, 0, b"", 0).to_bytes()
    assert client.post(f"/models/{model}/register", data=record).status_code == 204
    client.end(model)
    return release
