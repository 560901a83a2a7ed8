"""The pictures of a terminal are what the commands print today, and need nothing from elsewhere."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tests.docs.pages import ROOT
from tests.docs.terminal import svg_of

from modelcast.consumer.deadletters.render import COLUMNS as LETTER_COLUMNS

IMAGES = sorted((ROOT / "docs/images").glob("*.svg"))
MAX_BYTES = 60_000
SVG = "{http://www.w3.org/2000/svg}"
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
FLEET = re.search(r"table\(\((.*?)\), rows, whole", (ROOT / "publisher/modelcast/publisher/operating/views.py").read_text())
assert FLEET is not None
COLUMNS = {"fleet.svg": tuple(re.findall(r'"([^"]+)"', FLEET[1])), "dead-letters.svg": LETTER_COLUMNS}


def lines_of(svg: str) -> list[str]:
    """The lines of a picture, one space between two pieces."""
    return [" ".join("".join(piece.itertext()) for piece in line) for line in ET.fromstring(svg).iter(f"{SVG}text")]


def test_every_character_stands_where_the_terminal_had_it() -> None:
    svg = svg_of("a < b", "\x1b[1mname\x1b[0m   is\n\n web-1   <b>   current \n", words={"current": "green"})
    assert lines_of(svg) == ["name is", "web-1 <b> current"]
    pieces = list(ET.fromstring(svg).iter(f"{SVG}tspan"))
    places = [float(piece.attrib["x"]) for piece in pieces]
    assert places[1] - places[0] == pytest.approx(7 * 8.4, abs=0.2)   # the seventh column
    assert places[3] - places[2] == pytest.approx(8 * 8.4, abs=0.2)
    assert pieces[0].attrib["font-weight"] == "bold"
    assert [piece.attrib.get("fill") for piece in pieces] == [None, None, None, None, "#7ee787"]
    assert ET.fromstring(svg).findtext(f"{SVG}title") == "a < b"


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_a_picture_is_small_and_whole_and_names_nobodys_machine(path: Path) -> None:
    svg = path.read_text(encoding="utf-8")
    assert len(svg.encode()) < MAX_BYTES
    assert not re.search(r"/work|/tmp|/home|/root|/dev|amqp://|<script|<image|@import|url\(", svg)
    assert svg.count("http") == 1   # the name of the format


@pytest.mark.parametrize("name", COLUMNS)
def test_a_picture_shows_the_columns_that_the_command_prints_today(name: str) -> None:
    assert " ".join(COLUMNS[name]) in lines_of((ROOT / "docs/images" / name).read_text(encoding="utf-8"))


def test_each_picture_stands_on_the_readme_and_on_a_page_of_its_subject_with_what_it_shows_in_words() -> None:
    assert {path.name for path in IMAGES} == set(COLUMNS)
    for path in IMAGES:
        shown = {
            page.name: words for page in PAGES
            for words in re.findall(rf"!\[([^\]]*)\]\([\w/]*{path.name}\)", page.read_text(encoding="utf-8"))
        }
        assert "README.md" in shown
        assert len(shown) > 1
        assert all(len(words) > 40 for words in shown.values())
