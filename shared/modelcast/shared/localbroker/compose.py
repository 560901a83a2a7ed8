"""RabbitMQ in a container: is there a Docker engine that can, and bring it up.

Decides when an engine counts as usable: it answers and it knows ``compose``. Refuses nothing: every failure is a sentence
for the person, since there are other ways. Imports only the standard library and this room.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from modelcast.shared.errors import BrokerUnreachable
from modelcast.shared.localbroker.host import Host

FILE_NAME = "docker-compose.rabbitmq.yml"
"""The compose file: at the root of a checkout, or beside this module in an installed package."""

_ANSWER_SECONDS = 15.0   # an engine that hangs is no engine
_UP_SECONDS = 600.0      # includes pulling the image


def compose_file() -> Path | None:
    """Return the path of the compose file, or None when this installation has none."""
    here = Path(__file__).resolve()
    candidates = (here.parent / FILE_NAME, here.parents[4] / FILE_NAME)
    return next((path for path in candidates if path.is_file()), None)


def compose_url(variables: Mapping[str, str]) -> str:
    """Return the AMQP URL of the container for the same environment variables that the compose file reads."""
    password = quote(variables.get("MODELCAST_RABBITMQ_PASSWORD") or "modelcast", safe="")
    port = variables.get("MODELCAST_RABBITMQ_PORT") or "5672"
    streams = variables.get("MODELCAST_RABBITMQ_STREAM_PORT") or "5552"
    option = "" if (port, streams) == ("5672", "5552") else f"?stream_port={streams}"
    return f"amqp://modelcast:{password}@127.0.0.1:{port}/%2F{option}"


def why_no_engine(host: Host) -> str | None:
    """Return None when Docker can run the compose file here, otherwise the reason why not."""
    docker = host.find("docker")
    if docker is None:
        return "docker is not installed"
    if _run(host, [str(docker), "info"], _ANSWER_SECONDS) is not None:
        return "no Docker engine answers"
    if _run(host, [str(docker), "compose", "version"], _ANSWER_SECONDS) is not None:
        return "docker has no compose"
    if compose_file() is None:
        return f"{FILE_NAME} is not part of this installation"
    return None


def is_up(host: Host) -> bool:
    """Tell whether the container already runs."""
    answer = subprocess.run(
        [*_compose(host), "ps", "--status", "running", "--quiet"], env=dict(host.variables),
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=_ANSWER_SECONDS,
    )  # fmt: skip
    return answer.returncode == 0 and bool(answer.stdout.strip())


def bring_up(host: Host) -> None:
    """Start the container and wait until it is healthy.

    Raises:
        BrokerUnreachable: Docker could not do it; the message carries what it said.
    """
    failure = _run(host, [*_compose(host), "up", "--detach", "--wait"], _UP_SECONDS)
    if failure is not None:
        raise BrokerUnreachable(f"docker compose could not start RabbitMQ: {failure}")


def _compose(host: Host) -> list[str]:
    return [str(host.find("docker")), "compose", "-f", str(compose_file())]


def _run(host: Host, command: list[str], seconds: float) -> str | None:
    """Run ``command``; return None, or the last line that it said when it failed."""
    try:
        answer = subprocess.run(
            command, env=dict(host.variables), check=False, text=True, timeout=seconds,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = [line for line in answer.stdout.splitlines() if line.strip()]
    return None if answer.returncode == 0 else (lines[-1] if lines else f"status {answer.returncode}")
