"""What this machine is, as one frozen value: its environment, its system and where programs may lie.

Decides which one command installs RabbitMQ here. Everything else in this room takes a ``Host`` instead of looking for
itself, so that a test can describe a machine. Imports only the standard library.
"""

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# The scripts of the server itself. What lies on PATH on Debian and Fedora is a wrapper that wants root or the user "rabbitmq".
_SERVER_FOLDERS = (
    "/usr/lib/rabbitmq/bin",                  # Debian, Ubuntu, Fedora
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin",   # the packages of the RabbitMQ team
    "/opt/rabbitmq/sbin",                     # the container image
    "/opt/homebrew/opt/rabbitmq/sbin",        # Homebrew on Apple silicon
    "/usr/local/opt/rabbitmq/sbin",           # Homebrew on Intel
)

# The folders that a login shell would have; PATH of a service or a cron job may lack those where Erlang is.
_STANDARD_PATH = "/opt/homebrew/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Host:
    """The facts about a machine that choosing and running a broker depend on.

    Attributes:
        variables: The environment variables, as they were when the value was made.
        system: ``platform.system()``: ``Linux``, ``Darwin``, ...
        distribution: ``ID`` and ``ID_LIKE`` of ``/etc/os-release``; empty where there is none.
        is_root: Whether this process may install packages.
        server_folders: Patterns of the folders in which the server's own scripts are looked for, before PATH; patterns,
            since an installation makes a folder after this value was made.
        service_policy: The file that Debian's package scripts ask before they start a service.
    """

    variables: Mapping[str, str] = field(repr=False)   # may carry a password
    system: str
    distribution: frozenset[str]
    is_root: bool
    server_folders: tuple[str, ...]
    service_policy: Path = Path("/usr/sbin/policy-rc.d")

    @classmethod
    def here(cls) -> "Host":
        """Describe the machine that this process runs on."""
        return cls(
            variables=dict(os.environ),
            system=platform.system(),
            distribution=_distribution(),
            is_root=os.geteuid() == 0,
            server_folders=_SERVER_FOLDERS,
        )

    @property
    def search_path(self) -> str:
        """PATH of this process, if it has one, and after it the standard folders."""
        return ":".join(part for part in (self.variables.get("PATH"), _STANDARD_PATH) if part)

    def find(self, program: str) -> Path | None:
        """Return the path of ``program`` on PATH (of the variables alone), or None."""
        found = shutil.which(program, path=self.variables.get("PATH", ""))
        return Path(found) if found else None

    @property
    def is_debian(self) -> bool:
        """Whether this is Debian, Ubuntu or one of their children."""
        return bool(self.distribution & {"debian", "ubuntu"})

    def install_command(self) -> str:
        """Return the one command that installs a RabbitMQ server on this machine."""
        sudo = "" if self.is_root else "sudo "
        if self.system == "Darwin":
            return "brew install rabbitmq"
        for names, command in (
            ({"debian", "ubuntu"}, "apt-get install -y --no-install-recommends rabbitmq-server"),
            ({"fedora", "rhel", "centos"}, "dnf install -y rabbitmq-server"),
            ({"alpine"}, "apk add rabbitmq-server"),
            ({"arch"}, "pacman -S rabbitmq"),
            ({"suse", "opensuse"}, "zypper install -y rabbitmq-server"),
        ):
            if self.distribution & names:
                return sudo + command
        if self.find("conda"):
            return "conda install -y -c conda-forge rabbitmq-server"
        return "docker compose -f docker-compose.rabbitmq.yml up -d --wait"


def default_state_dir(variables: Mapping[str, str] | None = None) -> Path:
    """Return the folder in which the private node lives when none is named.

    Args:
        variables: Environment variables; those of this process when None.
    """
    variables = os.environ if variables is None else variables
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/modelcast/broker"
    base = variables.get("XDG_STATE_HOME", "")
    # The XDG specification tells programs to ignore a relative path here.
    return (Path(base) if base.startswith("/") else Path.home() / ".local/state") / "modelcast" / "broker"


def _distribution() -> frozenset[str]:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return frozenset()
    return frozenset(f"{release.get('ID', '')} {release.get('ID_LIKE', '')}".split())
