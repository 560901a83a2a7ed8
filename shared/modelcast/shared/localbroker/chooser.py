"""Which broker is used when somebody wants to try things out, and why that one.

Decides the order: the one that is named, a container, an installed server, one that can be installed; and says which it
took. Refuses to go on in silence when there is none. Reads the environment when called. Imports only this room and the
errors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from modelcast.shared.errors import BrokerUnreachable, MisuseError
from modelcast.shared.localbroker import compose
from modelcast.shared.localbroker.host import Host, default_state_dir
from modelcast.shared.localbroker.install import ensure_installed_on
from modelcast.shared.localbroker.node import PrivateNode

URL_VARIABLES = ("MODELCAST_URL", "MODELCAST_AMQP_URL")
"""Environment variables that name the broker to use; nothing is started then. The first may name another road, and counts not then."""


@dataclass(frozen=True)
class RunningBroker:
    """A broker that was chosen and runs.

    Attributes:
        url: The AMQP URL, with user and password.
        kind: ``url`` (named by the environment), ``docker`` or ``node`` (a private node).
        why: One sentence: why this one.
        started_here: Whether this call started it, and its caller may want to stop it.
    """

    url: str
    kind: str
    why: str
    started_here: bool


def choose_broker(
    *, note: Callable[[str], None], state_dir: Path | None = None, skip_docker: bool = False
) -> RunningBroker:
    """Choose a broker for this machine and start it if it does not run.

    Args:
        note: Told which broker is taken and why, a sentence at a time.
        state_dir: The folder of a private node; the user's own when None.
        skip_docker: Whether to pass over Docker even where it works.

    Returns:
        The broker.

    Raises:
        BrokerMissing: There is none and none could be installed; the hint is the command that installs one here.
        MisuseError: The environment names something that is no AMQP URL.
        HostFault: A private node did not start.
    """
    return choose_broker_on(Host.here(), note=note, state_dir=state_dir, skip_docker=skip_docker)


def choose_broker_on(
    host: Host, *, note: Callable[[str], None], state_dir: Path | None = None, skip_docker: bool = False
) -> RunningBroker:
    """Choose a broker as ``choose_broker`` does, for a machine that is described.

    Args:
        host: The machine.
        note: As for ``choose_broker``.
        state_dir: As for ``choose_broker``.
        skip_docker: As for ``choose_broker``.

    Returns:
        The broker.
    """
    chosen = _named(host) or (None if skip_docker else _container(host, note))
    if chosen is None:
        ensure_installed_on(host, note)
        chosen = _private(host, state_dir or default_state_dir(host.variables))
    note(chosen.why)
    return chosen


def ensure_installed(note: Callable[[str], None]) -> None:
    """Install RabbitMQ on this machine unless it is there, so that a private node can start.

    Args:
        note: Told what is done and why.

    Raises:
        BrokerMissing: It is not there and cannot be installed; the hint is the command that does it.
    """
    ensure_installed_on(Host.here(), note)


def _named(host: Host) -> RunningBroker | None:
    named = ((variable, host.variables.get(variable)) for variable in URL_VARIABLES)
    variable, url = next(((name, url) for name, url in named if url and not url.startswith("file:")), ("", None))
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in {"amqp", "amqps"} or not parts.hostname:
        raise MisuseError(f"{variable} is no AMQP URL.", hint="Such as amqp://user:password@host:5672/%2F")
    why = f"Using the broker at {parts.hostname}, because {variable} names it."
    return RunningBroker(url, "url", why, started_here=False)


def _container(host: Host, note: Callable[[str], None]) -> RunningBroker | None:
    reason = compose.why_no_engine(host)
    if reason is not None:
        note(f"Not using Docker: {reason}.")
        return None
    was_up = compose.is_up(host)
    try:
        compose.bring_up(host)
    except BrokerUnreachable as error:
        note(f"Not using Docker: {error}")
        return None
    why = f"Using RabbitMQ in a container ({compose.FILE_NAME}), because a Docker engine answers here."
    return RunningBroker(compose.compose_url(host.variables), "docker", why, started_here=not was_up)


def _private(host: Host, state_dir: Path) -> RunningBroker:
    node = PrivateNode(state_dir, host=host)
    was_running = node.status().running
    node.start()
    found = "which already runs" if was_running else "started with the RabbitMQ that is installed here"
    why = f"Using a private RabbitMQ node in {state_dir}, {found}; the system's own is not touched."
    return RunningBroker(node.application_url, "node", why, started_here=not was_running)
