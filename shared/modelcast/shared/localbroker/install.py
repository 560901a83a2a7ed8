"""Installs RabbitMQ where that can be done without asking: as root, on Debian and its children.

Decides that the system's own service is not started by it. Refuses every other system, with the one command that would
do it. Imports only the errors and this room.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path

from modelcast.shared.errors import BrokerMissing
from modelcast.shared.localbroker.host import Host
from modelcast.shared.localbroker.programs import find_programs

_INSTALL = ("install", "-y", "--no-install-recommends", "rabbitmq-server")
_APT_SECONDS = 900.0   # 100 MB over a slow line; it took 10 s on a fast one


def ensure_installed_on(host: Host, note: Callable[[str], None]) -> None:
    """Install RabbitMQ unless ``host`` has it.

    Args:
        host: The machine.
        note: Told what is done and why.

    Raises:
        BrokerMissing: It is not installed and cannot be installed here; the hint is the command that does it.
    """
    try:
        find_programs(host)
    except BrokerMissing:
        apt_get = host.find("apt-get")
        if not (host.is_root and host.is_debian and apt_get):
            raise
    else:
        return
    command = " ".join(("apt-get", *_INSTALL))
    note(f"RabbitMQ is not installed; this is root on Debian or Ubuntu, so: {command}")
    with _service_stays_down(host.service_policy):
        failure = _apt(apt_get, *_INSTALL)
        if failure is not None:
            note("That failed, perhaps for an old package list: apt-get update, and once more")
            _apt(apt_get, "update")
            failure = _apt(apt_get, *_INSTALL)
    if failure is not None:
        raise BrokerMissing(
            f"RabbitMQ could not be installed: {failure}", hint=f"Install it: apt-get update && {command}"
        )
    find_programs(host)


def _apt(apt_get: Path, *arguments: str) -> str | None:
    """Run apt-get; return None, or the last lines of what it said when it failed."""
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = [str(apt_get), "-o", "DPkg::Lock::Timeout=120", *arguments]
    try:
        answer = subprocess.run(
            command, env=variables, check=False, text=True, timeout=_APT_SECONDS,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if answer.returncode == 0 else "\n".join(answer.stdout.splitlines()[-5:]) or f"status {answer.returncode}"


@contextlib.contextmanager
def _service_stays_down(policy: Path) -> Generator[None]:
    """Have Debian's package scripts not start the service ``rabbitmq-server``, which would take port 5672.

    The policy names this process, so that it forbids nothing when it is left behind by a crash. A policy that is already
    there belongs to the system and is left alone.
    """
    script = (
        "#!/bin/sh\n"
        "# Written by modelcast while it installs RabbitMQ; safe to remove.\n"
        f'case "$1" in rabbitmq-server*) [ -d /proc/{os.getpid()} ] && exit 101 ;; esac\n'
        "exit 0\n"
    )
    try:
        descriptor = os.open(policy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755)
    except OSError:
        yield
        return
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(script)
        policy.chmod(0o755)   # whatever the umask
        yield
    finally:
        policy.unlink(missing_ok=True)
