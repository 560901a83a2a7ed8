"""The folder of a private node: which files it holds and what they say.

Decides the configuration and the environment of the server so that nothing of the system's own RabbitMQ is read or
written. Starts nothing. Imports only the standard library and the record.
"""

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from modelcast.shared.localbroker.record import LOOPBACK, NodeRecord

_INTERFACE = "-kernel inet_dist_use_interface {127,0,0,1}"   # Erlang's distribution would listen on every address
_IDLE = "+sbwt none +sbwtdcpu none +sbwtdio none"   # idle schedulers sleep: they share the processors with publisher and instances


class NodeFolder:
    """The files below one state folder.

    Args:
        path: The state folder; made on demand, for its owner only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        # Of the path, so that the processes of a node are found even when its other files are lost.
        digest = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:12]
        self.node_name = f"modelcast-{digest}@localhost"   # localhost resolves where the machine's own name does not
        self.record = self.path / "node.json"
        self.lock = self.path / "lock"
        self.log = self.path / "log" / "broker.log"
        self.startup_log = self.path / "log" / "startup.log"
        self.epmd_log = self.path / "log" / "epmd.log"
        self._home = self.path / "home"
        self._data = self.path / "data"
        self._settings = self.path / "settings"

    def make(self) -> None:
        """Make the folder, for its owner only."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)

    def lay_out(self, record: NodeRecord) -> None:
        """Write every file that the server reads, for a node with ``record``."""
        conf_d = self._settings / "conf.d"
        for folder in (self._home, self._data, conf_d, self.log.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        cookie = self._home / ".erlang.cookie"
        if not cookie.exists() or not cookie.stat().st_size:
            cookie.unlink(missing_ok=True)
            _write_private(cookie, secrets.token_hex(20), mode=0o400)   # Erlang refuses one that others may read
        _write_private(self._settings / "rabbitmq.conf", configuration(record))
        _write_private(self._settings / "advanced.config", "[].\n")
        _write_private(self._settings / "enabled_plugins", "[rabbitmq_stream].\n")
        _write_private(self._settings / "rabbitmq-env.conf", "")   # else /etc/rabbitmq/rabbitmq-env.conf is read

    def set_logs_aside(self) -> None:
        """Keep the logs of the last run as ``*.previous``, so that what is read of a start is of that start."""
        for log in (self.log, self.startup_log):
            with contextlib.suppress(FileNotFoundError):
                log.replace(log.with_name(log.name + ".previous"))

    def variables(self, record: NodeRecord, search_path: str) -> dict[str, str]:
        """Return the whole environment of the server and of ``rabbitmqctl``.

        Args:
            record: The ports.
            search_path: PATH, in which Erlang is found.
        """
        settings = self._settings
        return {
            "PATH": search_path,
            "HOME": str(self._home),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(record.epmd_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": self.node_name,
            "RABBITMQ_DIST_PORT": str(record.dist_port),
            "RABBITMQ_MNESIA_BASE": str(self._data),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self._data / "config"),
            "RABBITMQ_LOG_BASE": str(self.log.parent),
            "RABBITMQ_LOGS": str(self.log),
            "RABBITMQ_CONFIG_FILE": str(settings / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(settings / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(settings / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(settings / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(settings / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.path / "server.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{_INTERFACE} {_IDLE}",
            "RABBITMQ_CTL_ERL_ARGS": _INTERFACE,
            "RABBITMQ_CTL_DIST_PORT_MIN": "0",   # any: the eleven ports of the default may be in use by the system's node
            "RABBITMQ_CTL_DIST_PORT_MAX": "0",
            "detached": "1",   # the script becomes the server instead of waiting for it: one process less
        }

    def server_arguments(self) -> list[str]:
        """Return the arguments by which the node is found in the process table; Erlang ignores them."""
        return ["-modelcast_node", self.node_name]


def configuration(record: NodeRecord) -> str:
    """Return the text of ``rabbitmq.conf`` for a node with ``record``."""
    return "\n".join(
        (
            f"listeners.tcp.1 = {LOOPBACK}:{record.amqp_port}",
            f"stream.listeners.tcp.1 = {LOOPBACK}:{record.stream_port}",
            f"stream.advertised_host = {LOOPBACK}",
            f"stream.advertised_port = {record.stream_port}",
            "default_user = modelcast",
            f"default_pass = {record.password}",
            "default_vhost = /",
            "log.file.rotation.size = 10485760",   # bytes; the default lets the log grow for ever
            "log.file.rotation.count = 3",
            "",
        )
    )


def _write_private(path: Path, text: str, mode: int = 0o600) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())   # a node whose cookie is empty after a power cut never starts again
