"""The house keeps its own rules: where things stand, how long they are, and that each says what it is for."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("shared", "consumer", "publisher")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room / "modelcast" / room).rglob("*.py"))
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 50

TESTED_ELSEWHERE = {
    "shared/link.py": "protocols; tests/contract/test_link_contract.py",
    "shared/amqp_channel.py": "tests/contract/test_link_contract.py runs all of it on RabbitMQ",
    "shared/finding.py": "protocols; tests/consumer/test_fallback.py",
    "shared/operating_road.py": "protocols; tests/publisher/test_operator.py and test_chronicle.py, on every road",
    "shared/road.py": "protocols; tests/contract/test_road_contract.py",
    "shared/amqp_road.py": "tests/contract/test_road_contract.py",
    "shared/amqp_history.py": "tests/contract/test_history_contract.py",
    "shared/amqp_publishing.py": "tests/contract/test_road_contract.py",
    "shared/publishing_road.py": "protocols; tests/contract/test_road_contract.py holds every road to them",
    "shared/file_reading.py": "tests/contract/test_road_contract.py, in a directory that tells and one that is polled",
    "shared/cli/__main__.py": "two lines; tests/end_to_end/test_bad_input.py goes through it",
    "shared/localbroker/install.py": "tests/shared/localbroker/test_chooser.py, with an apt-get of its own",
    "shared/localbroker/programs.py": "tests/shared/localbroker/test_host.py and test_chooser.py",
    "consumer/keeper.py": "tests/consumer/test_workshop.py, test_store.py and test_vetoes.py",
    "publisher/acceptance.py": "tests/publisher/test_operator.py, on every road",
    "publisher/recording.py": "tests/publisher/test_catalog.py and rollout/test_records.py",
    "publisher/rollout/status.py": "tests/publisher/rollout/test_control.py, on every road",
    "publisher/intent.py": "values; tests/publisher/test_publication.py",
    "publisher/ordering.py": "tests/publisher/test_publication.py and test_operator.py",
    "publisher/server/call.py": "tests/publisher/server/test_app.py, test_publishing.py and test_joining.py go through all of it",
    "publisher/server/routes.py": "a table; tests/publisher/server/test_openapi.py and test_app.py",
    "publisher/server/service.py": "tests/publisher/server/test_sessions.py and test_serving.py",
    "publisher/server/settings.py": "values; tests/publisher/server/test_protocol.py",
    "publisher/server/shelves.py": "tests/publisher/server/test_reading.py",
    "publisher/server/uploading.py": "tests/publisher/server/test_publishing.py, with the sessions that it is used in",
    "publisher/server/welcome.py": "tests/publisher/server/test_openapi.py",
    "publisher/server/work.py": "every test of the server goes through it",
    "publisher/demo/chapters.py": "tests/end_to_end/test_demo.py plays all of them on RabbitMQ",
    "publisher/demo/letters.py": "tests/end_to_end/test_demo.py",
    "publisher/demo/waves.py": "tests/end_to_end/test_demo.py plays it on every road",
    "publisher/demo/releasing.py": "tests/end_to_end/test_demo.py plays it on every road",
}
"""Modules without a test module of their own, and why."""


def name_of(path: Path) -> str:
    """Return ``room/folder/module.py``."""
    return path.relative_to(ROOT).as_posix().split("/modelcast/", 1)[1]


def each_module() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", MODULES, ids=name_of)


def public(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_")


def test_the_rooms_are_one_namespace_without_an_init() -> None:
    assert MODULES
    assert not [path for room in ROOMS for path in (ROOT / room).glob("**/modelcast/__init__.py")]
    assert not [path for room in ROOMS for path in (ROOT / room).glob("*.py")]


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_says_that_it_is_typed(room: str) -> None:
    assert (ROOT / room / "modelcast" / room / "py.typed").is_file()


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "__init__.py"], ids=name_of)
def test_every_module_has_one_test_module(path: Path) -> None:
    name = name_of(path)
    mirrored = ROOT / "tests" / Path(name).parent / f"test_{path.stem}.py"
    if name in TESTED_ELSEWHERE:
        assert not mirrored.exists(), f"{name} has a test module now; take it off the list"
    else:
        assert mirrored.is_file(), f"{mirrored.relative_to(ROOT)} is missing"


def test_the_exceptions_are_modules() -> None:
    assert set(TESTED_ELSEWHERE) <= {name_of(path) for path in MODULES}


@pytest.mark.parametrize("room", ROOMS)
def test_every_test_module_tests_a_module(room: str) -> None:
    names = {Path(name_of(path)).with_suffix("").as_posix() for path in MODULES}
    for test in (ROOT / "tests" / room).rglob("test_*.py"):
        tested = test.relative_to(ROOT / "tests").with_name(test.name.removeprefix("test_")).with_suffix("").as_posix()
        assert tested in names, f"{test.relative_to(ROOT)} tests no module"


@each_module()
def test_no_module_is_too_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_MODULE_LINES


@each_module()
def test_no_function_is_too_long(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


@each_module()
def test_every_module_and_every_public_name_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the module has no docstring"
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and public(node)]
    for owner in (tree, *classes):
        for node in owner.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and public(node):
                overload = any(ast.unparse(mark).endswith("overload") for mark in node.decorator_list)
                assert overload or ast.get_docstring(node), f"{node.name} has no docstring"


@each_module()
def test_only_the_link_imports_the_amqp_library(path: Path) -> None:
    imported = {
        name.split(".")[0] for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }
    assert "pika" not in imported or name_of(path) in {"shared/pika_link.py", "shared/pika_levers.py", "shared/pika_frames.py"}


def test_tests_do_not_sleep() -> None:
    benchmarks = ROOT / "tests" / "benchmarks"   # what is measured there is time
    for test in (path for path in (ROOT / "tests").rglob("*.py") if benchmarks not in path.parents or path.name.startswith("test_")):
        calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(test.read_text())) if isinstance(node, ast.Call)]
        assert not {"time.sleep", "sleep"}.intersection(calls), f"{test.relative_to(ROOT)} sleeps"


WALL_CLOCK = {
    "shared/depot/reports.py", "consumer/active.py", "consumer/reporting.py", "publisher/build.py", "publisher/publisher.py",
    "publisher/server/tokens.py", "publisher/operator.py", "publisher/preflight.py", "publisher/acceptance.py",
    "publisher/operating/views.py", "publisher/chronicle.py", "publisher/rollout/desk.py", "publisher/retiring.py",
}
"""Modules that ask what time it is, to say it to people and to judge what expires. Everything that waits asks a monotonic clock."""


@each_module()
def test_nothing_waits_by_a_clock_that_may_jump(path: Path) -> None:
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
    asks = calls & {"time.time", "time.time_ns", "datetime.now", "datetime.datetime.now", "datetime.utcnow", "datetime.today"}
    assert not asks or name_of(path) in WALL_CLOCK, f"{asks}: for a deadline take time.monotonic"


def test_the_modules_that_ask_what_time_it_is_do() -> None:
    texts = {name_of(path): path.read_text() for path in MODULES}
    assert {name for name in WALL_CLOCK if "time_ns()" in texts[name] or "time.time()" in texts[name] or "datetime.now(" in texts[name]} == WALL_CLOCK


def module_name(path: Path) -> str:
    return "modelcast." + name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imported_by(path: Path) -> set[str]:
    """Return the modules of ours that a module imports, later on too; what stands below ``TYPE_CHECKING`` does not count."""
    names = {module_name(module) for module in MODULES}
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)} & names
    return found


def test_no_module_imports_itself_through_others() -> None:
    graph = {module_name(path): imported_by(path) for path in MODULES}
    assert sum(map(len, graph.values())) > 200   # the graph is really there
    while leaves := {name for name, imports in graph.items() if not imports & set(graph)}:
        graph = {name: imports for name, imports in graph.items() if name not in leaves}
    assert not graph, f"these import each other in a circle: {sorted(graph)}"
