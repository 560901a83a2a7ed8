"""Three private nodes of RabbitMQ that are one cluster: for what only a cluster can lose and get back.

Nodes of a cluster find each other through one port mapper and know each other by one cookie; everything else is as of a node alone.
"""

import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from modelcast.shared.errors import HostFault
from modelcast.shared.localbroker import processes
from modelcast.shared.localbroker.host import Host
from modelcast.shared.localbroker.layout import NodeFolder
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.localbroker.programs import find_programs
from modelcast.shared.localbroker.record import LOOPBACK, NodeRecord

COOKIE = "cluster-of-a-test"


class ClusterFolder(NodeFolder):
    """The folder of a node that shares a port mapper."""

    def __init__(self, path: Path, epmd_port: int) -> None:
        super().__init__(path)
        self._epmd_port = epmd_port
        home = path / "home"
        home.mkdir(mode=0o700, parents=True)
        (home / ".erlang.cookie").write_text(COOKIE)
        (home / ".erlang.cookie").chmod(0o400)

    def variables(self, record: NodeRecord, search_path: str) -> dict[str, str]:
        """See ``layout.NodeFolder.variables``."""
        return super().variables(record, search_path) | {"ERL_EPMD_PORT": str(self._epmd_port)}


class ClusterNode(PrivateNode):
    """A node that may become part of a cluster."""

    def __init__(self, state_dir: Path, epmd_port: int) -> None:
        super().__init__(state_dir)
        self._folder = ClusterFolder(state_dir, epmd_port)

    @property
    def name(self) -> str:
        """Name of the Erlang node."""
        return self._folder.node_name

    def environment(self) -> dict[str, str]:
        """The variables that programs of this node are run with."""
        return self._variables(self._known_record())


class Cluster:
    """Three nodes, joined.

    Args:
        folder: Where their folders are.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            self._epmd_port = probe.getsockname()[1]
        self.nodes = [ClusterNode(folder / f"node-{number}", self._epmd_port) for number in range(3)]
        self._epmd_log = folder / "epmd.log"

    def start(self) -> None:
        """Start the nodes and join them."""
        first, *others = self.nodes
        host = Host.here()
        home = self.nodes[0]._folder.path / "home"
        variables = {"PATH": host.search_path, "HOME": str(home)}
        epmd = [str(find_programs(host).epmd), "-port", str(self._epmd_port), "-address", LOOPBACK]
        processes.launch(epmd, variables=variables, log=self._epmd_log)
        for node in self.nodes:
            node.start()
        for node in others:
            for command in (("stop_app",), ("reset",), ("join_cluster", first.name), ("start_app",)):
                node.control(*command)

    def stop(self) -> None:
        """Stop all that runs."""
        for node in reversed(self.nodes):
            with suppress(HostFault):
                node.stop()
        processes.end(lambda: processes.with_arguments("epmd", "-port", str(self._epmd_port)), grace_seconds=5)

    def url(self, number: int, vhost: str) -> str:
        """The URL of a virtual host at one of the nodes; users are those of the first."""
        own = self.nodes[number].status()
        account = urlsplit(self.nodes[0].url).netloc.rpartition("@")[0]
        return f"amqp://{account}@{LOOPBACK}:{own.port}/{vhost}?stream_port={own.stream_port}"

    def add_vhost(self, name: str) -> None:
        """Make a virtual host."""
        self.nodes[0].control("add_vhost", name)
        self.nodes[0].control("set_permissions", "-p", name, "modelcast", ".*", ".*", ".*")

    def queues(self, vhost: str, *columns: str, at: int = 0) -> dict[str, list[str]]:
        """Return what a node says of each queue."""
        listed = self.nodes[at].control("list_queues", "-q", "-p", vhost, "--no-table-headers", "name", *columns)
        return {name: rest for name, *rest in (line.split("\t") for line in listed.splitlines())}

    def leader(self, vhost: str, queue: str) -> int:
        """Return which node leads a queue."""
        name = self.queues(vhost, "leader")[queue][0]
        return next(number for number, node in enumerate(self.nodes) if node.name == name)

    def heal(self, numbers: Iterable[int] = range(3)) -> None:
        """Start what does not run, all at once: one that was not the last to end waits for the others."""
        for number in numbers:
            if not self.nodes[number].status().running:
                self.nodes[number].start()
