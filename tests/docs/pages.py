"""The pages of the documentation and what is in them: snippets, expected output, links, generated parts.

Decides what counts as a snippet: every fenced block of Python, Bash or a console. One that cannot be run says so in a comment
before it, ``<!-- not-run: reason -->``. A block after ``<!-- prints -->`` is what the snippet before it prints.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNNABLE = {"python", "console", "bash"}
_FENCE = re.compile(r"^```(\w*)\s*$")
_NOT_RUN = re.compile(r"^<!-- not-run: (.*) -->$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Snippet:
    """One fenced block that a reader might run."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None = None
    prints: str | None = None


def pages() -> list[Path]:
    """All pages: those beside the README and those in ``docs``."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def snippets(page: Path) -> list[Snippet]:
    """The snippets of a page, in order, each with the output that the page promises."""
    found: list[Snippet] = []
    language: str | None = None
    before, mark, start, block = "", "", 0, list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and language is None:
            language, start, block, mark = fence[1], number, [], before
        elif fence:
            text = "\n".join(block) + "\n"
            if mark == "<!-- prints -->":
                last = found.pop()
                found.append(Snippet(last.page, last.line, last.language, last.text, last.not_run, text))
            elif language in RUNNABLE:
                reason = _NOT_RUN.match(mark)
                found.append(Snippet(name_of(page), start, language, text, reason[1] if reason else None))
            language = None
        elif language is not None:
            block.append(line)
        if line.strip() and language is None and not fence:
            before = line.strip()
        elif fence and language is None:
            before = ""
    assert language is None, f"{page} ends inside a fenced block that began in line {start}"
    return found


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"(?m)^#+ (.*)$", prose(page))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
