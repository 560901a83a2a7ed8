"""One private RabbitMQ node: started, looked at, killed and stopped, without root and without the system's own node.

Decides when the node is ready and what happens when it is not. Refuses to run a second node in one folder: a lock is
held while starting and stopping, and a node that an interrupted start left behind is taken over. Imports the other
modules of this room, never a client of AMQP.
"""

import contextlib
import socket
import subprocess
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from modelcast.shared.errors import HostFault, MisuseError, OutOfTime
from modelcast.shared.localbroker import processes
from modelcast.shared.localbroker.host import Host
from modelcast.shared.localbroker.layout import NodeFolder
from modelcast.shared.localbroker.programs import find_programs
from modelcast.shared.localbroker.record import LOOPBACK, NodeRecord, new_record, read_record, settle_ports, write_record

READY_SECONDS = 60.0
"""How long a node may take to accept connections; 3 to 5 s are usual, a loaded CI machine needs 30."""

_LOCK_SECONDS = 120.0       # another start may take its whole minute, and a stop its half
_STOP_SECONDS = 30.0        # a clean stop takes 1 to 2 s; streams are closed, tables written
_CONTROL_SECONDS = 120.0    # rabbitmqctl starts an Erlang of its own
_POLL_SECONDS = 0.05
_MISSING_POLLS = 5     # a process has no arguments for a moment while a script becomes the server
_LAUNCHES = 3               # a port may be taken between looking and listening
_AMQP_GREETING = b"AMQP\x00\x00\x09\x01"   # AMQP 0-9-1, section 4.2.2; a broker answers with a method frame, type 1


@dataclass(frozen=True)
class NodeStatus:
    """What is known of a private node at one moment.

    Attributes:
        running: Whether its process is there and answers.
        pid: The process id of the server, or None.
        url: The URL for applications, with the password and both ports; None when the node was never started.
        port: The AMQP port, or None.
        stream_port: The port of the stream protocol, or None.
        node_name: The name of the Erlang node.
        state_dir: The folder that holds everything of it.
        log: Its log file.
    """

    running: bool
    pid: int | None
    url: str | None
    port: int | None
    stream_port: int | None
    node_name: str
    state_dir: Path
    log: Path


class PrivateNode:
    """A RabbitMQ node of one's own, on loopback, kept in one folder.

    Args:
        state_dir: The folder that holds everything of the node; made when it starts.
        port: The AMQP port, or None for a free one that stays the same from start to start.
        host: The machine; the one of this process when None.
    """

    def __init__(self, state_dir: Path, *, port: int | None = None, host: Host | None = None) -> None:
        self._folder = NodeFolder(state_dir)
        self._port = port
        self._host = host or Host.here()

    @property
    def url(self) -> str:
        """The AMQP URL with user and password.

        Raises:
            HostFault: The node was never started.
        """
        return self._known_record().url

    @property
    def application_url(self) -> str:
        """The URL for applications: the AMQP URL, and at which port the stream protocol is.

        Raises:
            HostFault: The node was never started.
        """
        return _application_url(self._known_record())

    def start(self) -> str:
        """Start the node, or find it running, and wait until it accepts connections.

        Returns:
            The AMQP URL with user and password.

        Raises:
            BrokerMissing: No RabbitMQ server is installed.
            MisuseError: The port that was asked for is taken, or the node runs on another one.
            HostFault: The node ended instead of starting; the message carries the end of its log.
            OutOfTime: It was not ready after a minute, or another command held the folder for two.
        """
        self._folder.make()
        with self._locked():
            deadline = time.monotonic() + READY_SECONDS
            for launches_left in reversed(range(_LAUNCHES)):
                if self._pids():
                    self._refuse_another_port()
                else:
                    self._launch()
                if self._becomes_ready(deadline):
                    return self.url
                if not launches_left or "eaddrinuse" not in self.log_text(200):
                    break
            self._end_all(grace_seconds=0)
            raise HostFault(
                f"The private RabbitMQ node ended instead of starting. Its log ends with:\n{self.log_text(25)}",
                hint=f"See the folder {self._folder.log.parent}; it is safe to remove {self._folder.path}.",
                facts={"state_dir": str(self._folder.path)},
            )

    def stop(self) -> None:
        """Stop the node and its port mapper, and wait until they are gone; nothing happens when it does not run.

        Raises:
            HostFault: A process did not end.
            OutOfTime: Another command held the folder for two minutes.
        """
        if self._folder.path.is_dir():
            with self._locked():
                self._end_all(grace_seconds=_STOP_SECONDS)

    def kill(self) -> None:
        """Kill the server as a crash would (SIGKILL) and wait until it is gone; its port mapper stays."""
        processes.end(self._pids, grace_seconds=0)

    def status(self) -> NodeStatus:
        """Look at the node without changing anything."""
        record = read_record(self._folder.record)
        pids = self._pids()
        return NodeStatus(
            running=bool(pids) and record is not None and _answers(record.amqp_port),
            pid=pids[0] if pids else None,
            url=_application_url(record) if record else None,
            port=record.amqp_port if record else None,
            stream_port=record.stream_port if record else None,
            node_name=self._folder.node_name,
            state_dir=self._folder.path,
            log=self._folder.log,
        )

    def log_text(self, lines: int) -> str:
        """Return the last ``lines`` lines of the log, or of what the server said while it started if there is no log yet."""
        for path in (self._folder.log, self._folder.startup_log):
            with contextlib.suppress(FileNotFoundError):
                tail = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:] if lines > 0 else []
                if tail:
                    return "\n".join(tail)
        return ""

    def control(self, *args: str) -> str:
        """Run ``rabbitmqctl`` against this node.

        Args:
            *args: Its arguments, such as ``"list_queues"``.

        Returns:
            What it printed on stdout.

        Raises:
            HostFault: It failed; the message carries what it said.
            OutOfTime: It did not end within two minutes.
        """
        variables = self._variables(self._known_record())
        command = [str(find_programs(self._host).control), *args]
        try:
            answer = subprocess.run(
                command, env=variables, capture_output=True, text=True, check=False, timeout=_CONTROL_SECONDS,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise OutOfTime(f"rabbitmqctl {' '.join(args)} did not end within {_CONTROL_SECONDS:.0f} s.") from error
        if answer.returncode:
            raise HostFault(
                f"rabbitmqctl {' '.join(args)} failed: {(answer.stderr or answer.stdout).strip()}",
                facts={"status": answer.returncode},
            )
        return answer.stdout

    # ----------------------------------------------------------------- inside

    def _known_record(self) -> NodeRecord:
        record = read_record(self._folder.record)
        if record is None:
            raise HostFault(f"No private node was ever started in {self._folder.path}.", hint="modelcast broker start")
        return record

    def _variables(self, record: NodeRecord) -> dict[str, str]:
        return self._folder.variables(record, self._host.search_path)

    @contextlib.contextmanager
    def _locked(self) -> Generator[None]:
        try:
            with FileLock(self._folder.lock, timeout=_LOCK_SECONDS):
                yield
        except Timeout as error:
            raise OutOfTime(
                f"Another command has held {self._folder.lock} for {_LOCK_SECONDS:.0f} s.",
                hint="Wait for it, or end it, and try again.",
            ) from error

    def _pids(self) -> list[int]:
        return processes.with_arguments("", *self._folder.server_arguments())

    def _refuse_another_port(self) -> None:
        running = self._known_record().amqp_port
        if self._port not in {None, running}:
            raise MisuseError(
                f"The node already runs on port {running}, not {self._port}.", hint="modelcast broker stop, then start again."
            )

    def _launch(self) -> None:
        programs = find_programs(self._host)
        self._end_epmd()   # left behind by a node that was killed
        known = read_record(self._folder.record)
        record = new_record(self._port) if known is None else settle_ports(known, self._port)
        # Before anything runs: whatever happens next, the ports and the password of what was started are known.
        write_record(self._folder.record, record)
        self._folder.lay_out(record)
        self._folder.set_logs_aside()
        variables = self._variables(record)
        epmd = [str(programs.epmd), "-port", str(record.epmd_port), "-address", LOOPBACK]
        processes.launch(epmd, variables=variables, log=self._folder.epmd_log)
        server = [str(programs.server), *self._folder.server_arguments()]
        processes.launch(server, variables=variables, log=self._folder.startup_log)

    def _becomes_ready(self, deadline: float) -> bool:
        """Wait until the node answers; False when it ended instead."""
        record, missing = self._known_record(), 0
        while True:
            if _answers(record.amqp_port) and _listens(record.stream_port):
                return True
            missing = 0 if self._pids() else missing + 1
            if missing >= _MISSING_POLLS:
                return False
            if time.monotonic() > deadline:
                tail = self.log_text(25)
                self._end_all(grace_seconds=0)
                raise OutOfTime(
                    f"The private RabbitMQ node was not ready after {READY_SECONDS:.0f} s. Its log ends with:\n{tail}",
                    hint="Try again when the machine is less busy.",
                )
            time.sleep(_POLL_SECONDS)

    def _end_all(self, *, grace_seconds: float) -> None:
        processes.end(self._pids, grace_seconds=grace_seconds)
        self._end_epmd()

    def _end_epmd(self) -> None:
        record = read_record(self._folder.record)
        if record is not None:
            port = str(record.epmd_port)
            processes.end(lambda: processes.with_arguments("epmd", "-port", port), grace_seconds=_STOP_SECONDS)


def _application_url(record: NodeRecord) -> str:
    return f"{record.url}?stream_port={record.stream_port}"


def _answers(port: int) -> bool:
    """Tell whether a broker greets on ``port``."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=2.0) as connection:
        connection.sendall(_AMQP_GREETING)
        return connection.recv(1) == b"\x01"
    return False


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=2.0):
        return True
    return False
