"""Where the server's programs are on a host.

Refuses the wrapper that distributions put on PATH: it drops to the user ``rabbitmq`` and uses the system's own node.
Imports only the errors and the facts about the host.
"""

from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path

from modelcast.shared.errors import BrokerMissing
from modelcast.shared.localbroker.host import Host

SERVER_VARIABLE = "MODELCAST_RABBITMQ_SERVER"
"""Environment variable that names another ``rabbitmq-server`` script; ``rabbitmqctl`` and ``epmd`` are looked for beside it."""

_WRAPPER_MARKS = (b"id -u rabbitmq", b"su rabbitmq", b"runuser")   # /usr/sbin/rabbitmq-server of Debian and of Fedora
_WRAPPER_BYTES = 8192   # more than any of these scripts has


@dataclass(frozen=True)
class Programs:
    """The three programs that a private node needs.

    Attributes:
        server: ``rabbitmq-server``, the script of the server itself.
        control: ``rabbitmqctl``.
        epmd: Erlang's port mapper.
    """

    server: Path
    control: Path
    epmd: Path


def find_programs(host: Host) -> Programs:
    """Find an installed RabbitMQ server.

    Args:
        host: The machine to look at.

    Returns:
        The paths of its programs.

    Raises:
        BrokerMissing: None is installed, or a part of it is missing.
    """
    hint = f"Install one: {host.install_command()}"
    server = _server(host)
    if server is None:
        raise BrokerMissing("No RabbitMQ server is installed on this machine.", hint=hint)
    control = server.parent / "rabbitmqctl"
    if not control.is_file():
        raise BrokerMissing(f"{server} has no rabbitmqctl beside it.", hint=hint, facts={"server": str(server)})
    epmd = _epmd(server, host)
    if epmd is None:
        raise BrokerMissing(f"{server} is installed, but Erlang's epmd is not to be found on PATH.", hint=hint)
    return Programs(server, control, epmd)


def _server(host: Host) -> Path | None:
    named = host.variables.get(SERVER_VARIABLE)
    if named:
        path = Path(named).absolute()
        if not path.is_file():
            raise BrokerMissing(f"{SERVER_VARIABLE} names {path}, which does not exist.", hint=f"Unset {SERVER_VARIABLE}.")
        return path
    for pattern in host.server_folders:
        for found in sorted(glob(f"{pattern}/rabbitmq-server"), reverse=True):   # the newest of several versions
            return Path(found)
    on_path = host.find("rabbitmq-server")
    return None if on_path is None or _is_wrapper(on_path) else on_path


def _is_wrapper(script: Path) -> bool:
    with script.open("rb") as stream:
        start = stream.read(_WRAPPER_BYTES)
    return any(mark in start for mark in _WRAPPER_MARKS)


def _epmd(server: Path, host: Host) -> Path | None:
    beside = server.parent / "epmd"
    if beside.is_file():
        return beside
    search = replace(host, variables={"PATH": host.search_path})
    found = search.find("epmd")
    if found:
        return found
    erl = search.find("erl")
    if erl is None:
        return None
    # Some packages link only erl; epmd then lies with the runtime system.
    return next(iter(sorted(erl.resolve().parents[1].glob("erts-*/bin/epmd"), reverse=True)), None)
