"""What every test may ask for: a private RabbitMQ, a virtual host of one's own in it, a broker in memory, and keys."""

import itertools
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, settings
from tests.fakes.fake_broker import FakeBroker

from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.errors import BrokerMissing
from modelcast.shared.localbroker.chooser import ensure_installed
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.signing import KeyRing, SigningKey

pytest_plugins = ["tests.docs.documents"]

# No deadline: a busy CI machine is no failure. Function-scoped fixtures are values here, never state.
settings.register_profile(
    "house", deadline=None, max_examples=60, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("house")

MOST_RERUNS = 5
"""A busy machine delays one test or the other, hardly more."""
LONGEST = frozenset({"test_demo.py", "test_simulation.py"})
"""Files that take longest (``pytest --durations``): begun first."""
VHOSTS_AT_ONCE = 16
"""rabbitmqctl takes 0.4 s whatever it does; sixteen virtual hosts in one go take 0.5 s."""
MAKE_VHOSTS = """
lists:foreach(fun(Number) ->
    Name = iolist_to_binary(["test-", integer_to_list(Number)]),
    rabbit_vhost:add(Name, <<"tests">>),
    rabbit_auth_backend_internal:set_permissions(<<"{user}">>, Name, <<".*">>, <<".*">>, <<".*">>, <<"tests">>)
end, lists:seq({first}, {last})).
"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless somebody asks for it; where several files run at once, let none be waited for at the end."""
    if hasattr(config, "workerinput"):
        count = Counter(item.path for item in items)
        items.sort(key=lambda item: (item.path.name not in LONGEST, -count[item.path], item.path))
    if not os.environ.get("MODELCAST_TORTURE"):
        for item in items:
            if item.get_closest_marker("torture"):
                item.add_marker(pytest.mark.skip(reason="takes minutes; make torture"))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where so many tests passed only when run again that it is no accident (``make test`` gives each a second chance)."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and len(reporter.stats.get("rerun", ())) > MOST_RERUNS:
        reporter.ensure_newline()
        reporter.write_line(f"More than {MOST_RERUNS} tests needed a second chance: this is a failure.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _log_beside_the_tests() -> None:
    """Log to this process's stderr: commands that run in it write to what stdout and stderr are just then, and so would the next test."""
    structlog.reset_defaults()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))


@pytest.fixture(scope="session")
def rabbitmq_installed() -> None:
    """The programs of RabbitMQ, for tests that start nodes of their own; installed if they are not there."""
    notes: list[str] = []
    try:
        ensure_installed(notes.append)
    except BrokerMissing as error:
        pytest.fail(f"These tests need RabbitMQ. {error} {error.hint or ''} {' '.join(notes)}", pytrace=False)


@pytest.fixture(scope="session")
def node(rabbitmq_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateNode]:
    """A RabbitMQ that belongs to this test run."""
    private = PrivateNode(tmp_path_factory.mktemp("rabbitmq") / "node")
    private.start()
    yield private
    private.stop()


@pytest.fixture(scope="session")
def fresh_vhost_url(node: PrivateNode) -> Callable[[], str]:
    """Makes a virtual host that nobody has used, and returns its URL."""
    user = BrokerUrl.parse(node.url).user
    made: list[int] = []
    numbers = itertools.count()

    def fresh() -> str:
        number = next(numbers)
        if number >= len(made):
            batch = range(len(made), len(made) + VHOSTS_AT_ONCE)
            node.control("eval", MAKE_VHOSTS.format(user=user, first=batch[0], last=batch[-1]))
            made.extend(batch)
        return f"{node.url.rpartition('/')[0]}/test-{number}"

    return fresh


@pytest.fixture
def broker_url(fresh_vhost_url: Callable[[], str]) -> str:
    """The URL of an empty virtual host; it goes with the node."""
    return fresh_vhost_url()


@pytest.fixture
def fake_broker() -> FakeBroker:
    """An empty broker in memory."""
    return FakeBroker()


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    """A key that signs; the same in every run, so that failures can be repeated."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


@pytest.fixture(scope="session")
def other_key() -> SigningKey:
    """Another key, which nobody trusts unless a test says so."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64))))


@pytest.fixture(scope="session")
def key_ring(signing_key: SigningKey) -> KeyRing:
    """A ring that trusts ``signing_key`` with everything."""
    return KeyRing([signing_key.trusted()])


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: for tests that sync a thousand times and look at what was synced, not at a disk."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="modelcast-test-", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def key_file(tmp_path: Path, signing_key: SigningKey) -> Path:
    """``signing_key`` as a file that only its owner can read."""
    path = tmp_path / "training.key"
    path.write_bytes(signing_key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return path
