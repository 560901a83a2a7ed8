"""The documentation is true: its snippets run, what is generated is current, its links lead somewhere."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.docs.generate import PART, PARTS, ROOT, pages_with_parts
from tests.docs.pages import anchors, links, name_of, pages, snippets

from modelcast.consumer import ModelConsumer
from modelcast.consumer.deadletters.browse import read_letters
from modelcast.consumer.deadletters.moving import remove, send_back
from modelcast.publisher import Publisher
from modelcast.publisher.chronicle import decisions, history, read_fleet
from modelcast.shared.errors import PermissionRefused
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.roads import open_road
from modelcast.shared.signing import SigningKey

PAGE_SECONDS = 180
"""The operations page runs 30 commands, one after the other, and starts a broker twice."""
MAX_NOT_RUN = 8
"""Installing, `make` itself, and what needs a web server or another machine. A new one should be hard to add."""
PAGES = {name_of(page): page for page in pages()}
WITH_SNIPPETS = [name for name, page in PAGES.items() if any(s.not_run is None for s in snippets(page))]


LONG = {"docs/operations.md"}
"""Pages that take a minute by themselves, and show what the shorter ones show: played by ``make torture``."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.torture) if name in LONG else name for name in WITH_SNIPPETS])
def test_the_snippets_of_a_page_run_and_print_what_it_promises(name: str, broker_url: str, tmp_path: Path) -> None:
    binaries = Path(sys.executable).parent
    environment = {
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path / "home"), "MODELCAST_AMQP_URL": broker_url,
        "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1", "TERM": "dumb",
        **{name: os.environ[name] for name in ("MODELCAST_RABBITMQ_SERVER",) if name in os.environ},
    }
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "home").mkdir()
    command = [sys.executable, "-W", "error", str(ROOT / "tests/docs/run_page.py"), name]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PAGE_SECONDS, check=False
        )
    finally:
        if (tmp_path / "home/.local/state/modelcast").exists() or (tmp_path / "home/Library").exists():
            subprocess.run([binaries / "modelcast", "broker", "stop"], env=environment, capture_output=True, check=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_few_snippets_are_not_run_and_each_says_why() -> None:
    excused = [snippet for page in PAGES.values() for snippet in snippets(page) if snippet.not_run is not None]
    assert len(excused) <= MAX_NOT_RUN
    assert all(len(snippet.not_run or "") > 10 for snippet in excused)


def test_every_block_that_is_neither_run_nor_excused_says_what_language_it_is() -> None:
    for name, page in PAGES.items():
        bare = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("```")][::2]
        assert all(fence in {"```python", "```console", "```bash", "```text", "```mermaid", "```toml"} for fence in bare), name


def test_the_generated_parts_are_current() -> None:
    # In a process of its own: click keeps the help option of a command as it was when it was first asked for.
    command = [sys.executable, str(ROOT / "tests/docs/generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PAGE_SECONDS, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}Run: python tests/docs/generate.py"


def test_every_part_that_can_be_generated_stands_on_some_page() -> None:
    written = {part for page in pages_with_parts() for _, part, _ in PART.findall(page.read_text(encoding="utf-8"))}
    assert written == set(PARTS)


@pytest.mark.parametrize("name", PAGES)
def test_the_links_of_a_page_lead_somewhere(name: str) -> None:
    page = PAGES[name]
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{name}: {link}"


def test_every_page_of_docs_is_reached_from_the_index() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md", ROOT / "docs/index.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        targets = {(page.parent / link.partition("#")[0]).resolve() for link in links(page) if not link.startswith("https://")}
        waiting += [target for target in targets if target.suffix == ".md" and target not in reached]
    assert set(PAGES.values()) <= reached


def test_no_page_names_a_path_of_somebodys_machine_or_a_registry_host() -> None:
    forbidden = re.compile(r"/work/|/tmp/|/home/\w|/root|/Users/|pypi\.|pythonhosted|https?://\d|localhost:\d")
    for name, page in PAGES.items():
        found = forbidden.search(page.read_text(encoding="utf-8"))
        assert found is None, f"{name}: {found}"


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("docs/") and "/adr/" not in name])
def test_a_page_says_first_whom_it_is_for(name: str) -> None:
    title, _, opening, *_ = PAGES[name].read_text(encoding="utf-8").splitlines()
    assert title.startswith("# ")
    assert opening.startswith("*For "), opening


def test_decision_records_have_one_shape_and_are_all_listed() -> None:
    index = (ROOT / "docs/adr/README.md").read_text(encoding="utf-8")
    for page in sorted((ROOT / "docs/adr").glob("0*.md")):
        text = page.read_text(encoding="utf-8")
        headings = re.findall(r"(?m)^## (.*)$", text)
        assert headings == ["Context", "Decision", "Consequences"], page.name
        assert text.startswith(f"# {int(page.name[:4])}. "), page.name
        assert f"({page.name})" in index, page.name


MAKE_USER = """
rabbit_auth_backend_internal:add_user(<<"{name}">>, <<"{name}">>, <<"tests">>),
rabbit_auth_backend_internal:set_permissions(<<"{name}">>, <<"{vhost}">>, <<"{0}">>, <<"{1}">>, <<"{2}">>, <<"tests">>)
"""


def test_the_permissions_of_the_page_are_enough(node: PrivateNode, broker_url: str, tmp_path: Path) -> None:
    page = (ROOT / "docs/running.md").read_text(encoding="utf-8")
    found = re.findall(r"(?m)^\| (publisher|instance|operator|replayer) \| `(.+?)` \| `(.+?)` \| `(.+?)` \|$", page)
    assert len(found) == 4
    vhost, urls, commands = broker_url.rpartition("/")[2], dict[str, str](), list[str]()
    for role, *patterns in found:
        name = f"{role}-{vhost}"
        ours = [p.replace("\\|", "|").replace("M", "fraud").replace("C", "production").replace("\\", "\\\\") for p in patterns]
        commands.append(MAKE_USER.format(*ours, name=name, vhost=vhost).strip())
        urls[role] = f"amqp://{name}:{name}@{broker_url.rpartition('@')[2]}"
    node.control("eval", ", ".join(commands) + ".")

    trusted, unknown = SigningKey(Ed25519PrivateKey.generate()), SigningKey(Ed25519PrivateKey.generate())
    consumer = ModelConsumer(urls["instance"], model="fraud", trust=[trusted.trusted()], store=tmp_path, instance="web-1")
    with consumer:
        publisher = Publisher(urls["publisher"], signing_key=trusted)
        assert publisher.wait(publisher.publish({"a": 1}, model="fraud", version="1.0.0"), instances=1, timeout_seconds=30).ok
        forger = Publisher(urls["publisher"], signing_key=unknown)
        refused = forger.wait(forger.publish({"a": 2}, model="fraud", version="1.1.0"), instances=1, timeout_seconds=30)
        assert [report.reason for report in refused.rejected.values()] == ["unknown-key"]
    letters = read_letters(open_road(urls["operator"]), limit=10)
    assert [letter.reason for letter in letters] == ["unknown-key"]
    operator = open_road(urls["operator"])
    assert read_fleet(operator, "fraud", "production").is_in_step is False   # the last order was refused
    assert [record.version for record in history(operator, "fraud", "production")] == ["1.0.0", "1.1.0"]
    assert [report.verdict for report, _ in decisions(operator, "fraud", "1.0.0")] == ["promoted"]
    with pytest.raises(PermissionRefused):
        list(send_back(open_road(urls["operator"]), letters))
    assert len(read_letters(open_road(urls["operator"]), limit=10)) == 1
    assert [problem for _, problem in send_back(open_road(urls["replayer"]), letters)] == [None]
    with consumer_again(urls["instance"], trusted, tmp_path):
        deadline = time.monotonic() + 30
        while not (again := read_letters(open_road(urls["operator"]), limit=10)):
            assert time.monotonic() < deadline
    assert [letter.reason for letter in again] == ["unknown-key"]   # judged anew, and the key is as unknown as before
    assert len(list(remove(open_road(urls["operator"]), again))) == 1
    assert read_letters(open_road(urls["operator"]), limit=10) == []


def consumer_again(url: str, trusted: SigningKey, store: Path) -> ModelConsumer:
    return ModelConsumer(url, model="fraud", trust=[trusted.trusted()], store=store, instance="web-1")
