"""The OpenAPI document and the server say the same: held together by schemathesis, and by the table that both are made of."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from tests.fakes.site import Client, Site

from modelcast.publisher.server.openapi import document
from modelcast.publisher.server.routes import PREFIX, ROUTES

DOCUMENT = document()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)


LEFT_OUT = ("positive_data_acceptance", "negative_data_rejection")
"""No schema says which bytes have which digest; and what a query has besides is ignored, so that newer clients may ask older servers."""


@schemathesis.serializer("application/vnd.modelcast")
def as_it_is(context: object, value: object) -> bytes:
    """Bytes, whatever they are."""
    return value if isinstance(value, bytes) else str(getattr(value, "data", value)).encode()


def test_every_route_is_described_and_nothing_else() -> None:
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == {(route.method, PREFIX + route.path.replace(":path}", "}")) for route in ROUTES}
    names = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]
    assert len(set(names)) == len(names)


def test_every_operation_says_what_it_does_and_which_scope_it_needs() -> None:
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            assert operation["summary"].endswith(".")
            assert operation.get("security") == [] or "scope" in operation["description"]


def test_anybody_may_read_the_document(site: Site) -> None:
    with Client(site.url, None) as stranger:
        assert stranger.get("/openapi.json").json() == DOCUMENT
        assert set(stranger.get("/health").json()) == {"status", "modelcast"}


@pytest.fixture(scope="module")
def busy_token(site: Site) -> str:
    return site.token()


@SCHEMA.parametrize()
@settings(max_examples=2, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
def test_whatever_is_asked_is_answered_as_the_document_says(case: schemathesis.Case, site: Site, busy_token: str) -> None:
    if "wait" in (case.query or {}):
        case.query["wait"] = 0.0
    case.call_and_validate(
        base_url=site.url.removesuffix("/v1"), headers={"Authorization": f"Bearer {busy_token}"},
        excluded_checks=[schemathesis.checks.CHECKS.get_one(name) for name in LEFT_OUT],
    )
