"""Addresses of servers, and what is refused in them."""

import pytest

from modelcast.shared.errors import MisuseError
from modelcast.shared.http_url import HttpUrl


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("http://127.0.0.1:8080", HttpUrl("http", "127.0.0.1", 8080), "http://127.0.0.1:8080"),
        ("https://models.example/", HttpUrl("https", "models.example", 443), "https://models.example:443"),
        ("https://[::1]/behind/a/proxy/", HttpUrl("https", "::1", 443, "/behind/a/proxy"), "https://[::1]:443/behind/a/proxy"),
        (
            "https://m.example:444?token_file=/run/token&ca_file=/etc/ca.pem&connections=2&allow_plain=yes",
            HttpUrl("https", "m.example", 444, "", "/run/token", "/etc/ca.pem", 2, True), "https://m.example:444",
        ),
    ],
)
def test_an_address_is_taken_apart_and_shown_without_its_options(text: str, url: HttpUrl, shown: str) -> None:
    assert (HttpUrl.parse(text), str(HttpUrl.parse(text))) == (url, shown)


@pytest.mark.parametrize("text", ["ftp://x", "https://", "https://x:port", "https://x:99999", "https://x#part", "https://x/a b", "x", ""])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(MisuseError, match="no address of a server"):
        HttpUrl.parse(text)


@pytest.mark.parametrize("text", ["https://user:geheim@x", "https://geheim@x", "https://x?token=geheim"])
def test_a_secret_in_an_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(MisuseError, match="secret") as caught:
        HttpUrl.parse(text)
    assert "geheim" not in f"{caught.value} {caught.value.hint} {caught.value.facts}"


@pytest.mark.parametrize("option", ["speed=high", "connections=0", "connections=9", "connections=x", "allow_plain=maybe"])
def test_an_option_that_cannot_be_read_is_named(option: str) -> None:
    with pytest.raises(MisuseError, match=option.partition("=")[0]):
        HttpUrl.parse(f"https://x?{option}")


@pytest.mark.parametrize(("host", "is_here"), [("localhost", True), ("127.0.0.2", True), ("[::1]", True), ("models.example", False)])
def test_this_host_is_known_by_its_names(host: str, is_here: bool) -> None:
    assert HttpUrl.parse(f"http://{host}").is_here is is_here
