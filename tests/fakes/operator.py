"""Somebody with rights on a broker, and what they do to one virtual host while modelcast runs in it."""

import json

from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.pika_link import PikaBroker
from modelcast.shared.topology import Exchange

DELETE_EXCHANGE = 'rabbit_exchange:delete(rabbit_misc:r(<<"{vhost}">>, exchange, <<"{name}">>), false, <<"operator">>).'
BINDINGS = ("-q", "--no-table-headers", "source_name", "destination_name")


class Operator:
    """An operator of one virtual host.

    Args:
        node: The broker.
        url: The URL of the virtual host, as applications have it.
    """

    def __init__(self, node: PrivateNode, url: str) -> None:
        self.node, self._url = node, BrokerUrl.parse(url)
        self.vhost, self.user = self._url.vhost, self._url.user

    def delete_queue(self, name: str) -> None:
        """Delete a queue or a stream with all that is in it."""
        self.node.control("delete_queue", name, "-p", self.vhost)

    def delete_exchange(self, name: str) -> None:
        """Delete an exchange; its bindings go with it."""
        self.node.control("eval", DELETE_EXCHANGE.format(vhost=self.vhost, name=name))

    def retype_exchange(self, name: str, kind: str) -> None:
        """Put an exchange of another type in the place of one."""
        self.delete_exchange(name)
        link = PikaBroker(self._url.text).connect(name="operator")
        link.declare([Exchange(name, kind)])
        link.close()

    def close_connections(self) -> None:
        """Close every connection of the virtual host."""
        self.node.control("close_all_connections", "-p", self.vhost, "maintenance")

    def wipe(self) -> None:
        """Delete the virtual host with all that is in it, and make it again, empty."""
        self.node.control("delete_vhost", self.vhost)
        self.node.control("add_vhost", self.vhost)
        self.allow_again()

    def forbid(self) -> None:
        """Take every permission in the virtual host away."""
        self.node.control("clear_permissions", "-p", self.vhost, self.user)

    def allow_again(self) -> None:
        """Give every permission in the virtual host."""
        self.node.control("set_permissions", "-p", self.vhost, self.user, ".*", ".*", ".*")

    def limit_connections(self, most: int) -> None:
        """Allow so many connections to the virtual host; -1 is any number."""
        self.node.control("set_vhost_limits", "-p", self.vhost, f'{{"max-connections": {most}}}')

    def bindings(self) -> set[tuple[str, str]]:
        """Return what is bound: from which exchange to which queue."""
        listed = self.node.control("list_bindings", "-p", self.vhost, *BINDINGS)
        pairs = (line.split("\t") for line in listed.splitlines())
        return {(source, queue) for source, queue in pairs if source}

    def depths(self) -> dict[str, int]:
        """Return how many messages lie in each queue, given out and not acknowledged ones too."""
        listed = self.node.control("list_queues", "-q", "-p", self.vhost, "--no-table-headers", "name", "messages")
        return {name: int(count) for name, count in (line.split("\t") for line in listed.splitlines())}

    def queue_types(self) -> dict[str, str]:
        """Return the type of each queue."""
        listed = self.node.control("list_queues", "-q", "-p", self.vhost, "--no-table-headers", "name", "type")
        return {name: kind.removeprefix("rabbit_").split("_")[0] for name, kind in (line.split("\t") for line in listed.splitlines())}

    def set_policy(self, name: str, pattern: str, definition: dict[str, object], applies_to: str) -> None:
        """Set a policy for what is named like ``pattern``."""
        self.node.control("set_policy", "-p", self.vhost, "--apply-to", applies_to, name, pattern, json.dumps(definition))

    def clear_policy(self, name: str) -> None:
        """Take a policy away."""
        self.node.control("clear_policy", "-p", self.vhost, name)
