"""The address of a shared directory."""

import pytest

from modelcast.shared.errors import MisuseError
from modelcast.shared.file_url import FileUrl


@pytest.mark.parametrize(("text", "url"), [
    ("file:///srv/models", FileUrl("/srv/models")),
    ("file://localhost/srv/models/", FileUrl("/srv/models")),
    ("file:///srv/my%20models%23", FileUrl("/srv/my models#")),
    ("file:///srv/models?poll=0.5", FileUrl("/srv/models", 0.5)),
    ("file:///srv/models?allow_shared_writes=yes&poll=2", FileUrl("/srv/models", 2.0, allow_shared_writes=True)),
    ("file:///srv/models?allow_shared_writes=no", FileUrl("/srv/models")),
])
def test_a_path_and_its_options_are_understood(text: str, url: FileUrl) -> None:
    assert FileUrl.parse(text) == url


@pytest.mark.parametrize("text", [
    "file://srv/models", "file:srv/models", "file://", "file:///", "/srv/models", "file:///srv#models", "file:///srv/%00", "http:///srv",
    "file:///srv?poll", "file:///srv?&",
])
def test_what_is_no_address_of_a_directory_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(MisuseError, match="no address of a directory") as caught:
        FileUrl.parse(text)
    assert "file:///srv/models" in (caught.value.hint or "")


@pytest.mark.parametrize("option", ["poll=", "poll=0", "poll=-1", "poll=nan", "poll=inf", "poll=soon", "poll=1e9", "allow_shared_writes=1", "chunks=amqp"])
def test_an_option_that_cannot_be_is_named(option: str) -> None:
    with pytest.raises(MisuseError, match=option.partition("=")[0]):
        FileUrl.parse(f"file:///srv/models?{option}")
