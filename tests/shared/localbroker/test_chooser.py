"""Which broker is chosen, with small scripts in place of docker and apt-get, and the real rabbitmq-server."""

import os
import shutil

import pytest

from modelcast.shared.errors import BrokerMissing, HostFault, MisuseError
from modelcast.shared.localbroker.chooser import choose_broker, choose_broker_on, ensure_installed
from modelcast.shared.localbroker.host import Host
from modelcast.shared.localbroker.node import PrivateNode

DOCKER_THAT_WORKS = """
echo "$*" >> "$0.calls"
case "$*" in *" ps "*) [ -f "$0.up" ] && echo 0123abcd ;; *" up "*) touch "$0.up" ;; esac
exit 0
"""

APT_THAT_NEEDS_AN_UPDATE = """
echo "$*" >> "$0.calls"
[ -x POLICY ] && POLICY rabbitmq-server start; echo "policy says $?" >> "$0.calls"
case "$*" in
  *" update") touch "$0.updated"; exit 0 ;;
  *" install "*) [ -f "$0.updated" ] || { echo "E: Unable to locate package"; exit 100; } ;;
esac
for name in rabbitmq-server rabbitmqctl epmd; do printf '#!/bin/sh\\nexit 1\\n' > "$(dirname "$0")/$name"; chmod +x "$(dirname "$0")/$name"; done
"""


@pytest.fixture
def machine(tmp_path):
    """A machine whose PATH holds only what a test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "touch", "dirname", "chmod", "printf"):
        real = shutil.which(name)
        if real:
            folder.joinpath(name).symlink_to(real)
    return Machine(folder)


class Machine:
    def __init__(self, folder):
        self.folder = folder
        self.policy = folder.parent / "policy-rc.d"
        self.notes = []

    def has(self, name, text):
        self.folder.joinpath(name).write_text("#!/bin/sh\n" + text)
        self.folder.joinpath(name).chmod(0o755)

    def calls(self, name):
        path = self.folder / f"{name}.calls"
        return path.read_text().splitlines() if path.exists() else []

    def host(self, *, distribution="debian", is_root=True, **variables):
        return Host(
            {"PATH": str(self.folder), **variables}, "Linux", frozenset({distribution}), is_root=is_root,
            server_folders=(), service_policy=self.policy,
        )  # fmt: skip

    def choose(self, state_dir, *, skip_docker=False, **host):
        return choose_broker_on(self.host(**host), note=self.notes.append, state_dir=state_dir, skip_docker=skip_docker)


def test_a_named_broker_goes_before_everything_and_its_password_is_not_said(machine, tmp_path):
    machine.has("docker", DOCKER_THAT_WORKS)
    broker = machine.choose(tmp_path / "broker", MODELCAST_AMQP_URL="amqp://me:secret@elsewhere:5672/%2F")
    assert (broker.kind, broker.url, broker.started_here) == ("url", "amqp://me:secret@elsewhere:5672/%2F", False)
    assert machine.calls("docker") == []
    assert machine.notes == ["Using the broker at elsewhere, because MODELCAST_AMQP_URL names it."]


def test_the_variable_of_any_road_counts_where_it_names_a_broker(machine, tmp_path):
    broker = machine.choose(tmp_path / "broker", MODELCAST_URL="amqp://here", MODELCAST_AMQP_URL="amqp://there")
    assert broker.url == "amqp://here"
    broker = machine.choose(tmp_path / "broker", MODELCAST_URL="file:///srv/models", MODELCAST_AMQP_URL="amqp://there")
    assert broker.url == "amqp://there"


def test_the_environment_is_read_when_the_broker_is_chosen(monkeypatch):
    monkeypatch.setenv("MODELCAST_AMQP_URL", "amqps://me:secret@elsewhere/%2F")
    assert choose_broker(note=print).url == "amqps://me:secret@elsewhere/%2F"


@pytest.mark.parametrize("url", ["elsewhere:5672", "http://elsewhere", "amqp://"])
def test_a_name_that_is_no_amqp_url_is_misuse(machine, tmp_path, url):
    with pytest.raises(MisuseError, match="MODELCAST_AMQP_URL"):
        machine.choose(tmp_path, MODELCAST_AMQP_URL=url)


def test_a_docker_engine_goes_before_an_installed_server(machine, tmp_path):
    machine.has("docker", DOCKER_THAT_WORKS)
    broker = machine.choose(tmp_path / "broker", MODELCAST_RABBITMQ_PASSWORD="a/b", MODELCAST_RABBITMQ_PORT="5999")
    assert (broker.kind, broker.url) == ("docker", "amqp://modelcast:a%2Fb@127.0.0.1:5999/%2F?stream_port=5552")
    assert broker.started_here
    assert machine.calls("docker")[-1].endswith("docker-compose.rabbitmq.yml up --detach --wait")
    assert "container" in machine.notes[-1]
    assert not machine.choose(tmp_path / "broker").started_here   # it was up already


@pytest.mark.parametrize(
    ("docker", "reason"),
    [
        (None, "docker is not installed"),
        ("exit 1", "no Docker engine answers"),
        ('[ "$1" = info ]', "docker has no compose"),
        ('[ "$1" = info ] || [ "$2" = version ] || { echo "port is already allocated"; exit 1; }', "port is already allocated"),
    ],
)
def test_docker_that_does_not_work_is_passed_over_with_the_reason(machine, tmp_path, docker, reason):
    if docker:
        machine.has("docker", docker)
    with pytest.raises(BrokerMissing):
        machine.choose(tmp_path / "broker", is_root=False)
    assert reason in machine.notes[0]


def test_docker_can_be_passed_over(machine, tmp_path):
    machine.has("docker", DOCKER_THAT_WORKS)
    with pytest.raises(BrokerMissing):
        machine.choose(tmp_path / "broker", is_root=False, skip_docker=True)
    assert machine.calls("docker") == []


def test_root_on_debian_installs_it_and_updates_the_package_list_only_when_needed(machine, tmp_path):
    machine.has("apt-get", APT_THAT_NEEDS_AN_UPDATE.replace("POLICY", str(machine.policy)))
    with pytest.raises(HostFault, match="ended instead of starting"):   # what was installed is a stand-in that exits
        machine.choose(tmp_path / "broker")
    install = "-o DPkg::Lock::Timeout=120 install -y --no-install-recommends rabbitmq-server"
    assert machine.calls("apt-get") == [
        install, "policy says 101", "-o DPkg::Lock::Timeout=120 update", "policy says 101", install, "policy says 101",
    ]  # fmt: skip
    assert not machine.policy.exists()
    assert "apt-get install" in machine.notes[1]


def test_a_policy_of_the_system_is_left_alone(machine, tmp_path):
    machine.policy.write_text("#!/bin/sh\nexit 101\n")
    machine.has("apt-get", "exit 1")
    with pytest.raises(BrokerMissing):
        machine.choose(tmp_path / "broker")
    assert machine.policy.read_text() == "#!/bin/sh\nexit 101\n"


def test_an_installation_that_fails_says_what_apt_said_and_the_command(machine, tmp_path):
    machine.has("apt-get", "echo E: no network; exit 100")
    with pytest.raises(BrokerMissing, match="no network") as caught:
        machine.choose(tmp_path / "broker")
    assert "apt-get install -y --no-install-recommends rabbitmq-server" in caught.value.hint


@pytest.mark.parametrize(
    ("distribution", "is_root", "command"),
    [
        ("debian", False, "sudo apt-get install -y --no-install-recommends rabbitmq-server"),
        ("ubuntu", True, "apt-get install -y --no-install-recommends rabbitmq-server"),
        ("fedora", False, "sudo dnf install -y rabbitmq-server"),
        ("alpine", True, "apk add rabbitmq-server"),
        ("arch", False, "sudo pacman -S rabbitmq"),
        ("unheard-of", False, "docker compose -f docker-compose.rabbitmq.yml up -d --wait"),
    ],
)
def test_where_nothing_can_be_done_the_hint_is_one_command_of_this_system(machine, tmp_path, distribution, is_root, command):
    with pytest.raises(BrokerMissing) as caught:   # no apt-get on this PATH: root cannot install either
        machine.choose(tmp_path / "broker", distribution=distribution, is_root=is_root)
    assert caught.value.hint == f"Install one: {command}"


def test_macos_is_told_of_homebrew():
    host = Host({}, "Darwin", frozenset(), is_root=False, server_folders=())
    assert host.install_command() == "brew install rabbitmq"


def test_the_wrapper_of_the_distribution_does_not_count_as_a_server(machine, tmp_path):
    machine.has("rabbitmq-server", 'if [ `id -u` = `id -u rabbitmq` ]; then :; fi; su rabbitmq -s /bin/sh -c "..."')
    with pytest.raises(BrokerMissing):
        machine.choose(tmp_path / "broker", is_root=False)


def test_an_installed_server_is_run_as_a_private_node_and_used_again(tmp_path):
    ensure_installed(print)
    variables = {name: value for name, value in os.environ.items() if name not in {"MODELCAST_URL", "MODELCAST_AMQP_URL"}}
    host = Host(**{**vars(Host.here()), "variables": variables})
    notes = []
    state_dir = tmp_path / "broker"
    try:
        first = choose_broker_on(host, note=notes.append, state_dir=state_dir, skip_docker=True)
        again = choose_broker_on(host, note=notes.append, state_dir=state_dir, skip_docker=True)
    finally:
        PrivateNode(state_dir).stop()
    assert (first.kind, first.started_here) == ("node", True)
    assert (again.url, again.started_here) == (first.url, False)
    assert "private RabbitMQ node" in notes[0]
    assert "already runs" in notes[1]
