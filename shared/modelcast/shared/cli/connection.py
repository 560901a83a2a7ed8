"""Where a command finds the road: the option, the environment, a file that it names, or the private node that runs.

Decides the order, and says on stderr which it took when nobody named one. Passwords never need to stand in arguments. The
variables of the time when RabbitMQ was the only road still count, after those that name any road.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from modelcast.shared.errors import BrokerUnreachable, MissingPath

URL_VARIABLE, URL_FILE_VARIABLE = "MODELCAST_URL", "MODELCAST_URL_FILE"
AMQP_URL_VARIABLE, AMQP_URL_FILE_VARIABLE = "MODELCAST_AMQP_URL", "MODELCAST_AMQP_URL_FILE"


def url_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--url`` to a command; resolve its value with ``resolve_url``."""
    return click.option(
        "--url",
        help="Road: a broker, amqp://user@host/vhost, a shared directory, file:///srv/models, or a server, https://models.example "
        "(its token: MODELCAST_TOKEN). Better for a broker: "
        f"{URL_VARIABLE}, or {URL_FILE_VARIABLE} with the path of a file, so that the password stands in no argument. "
        "Left out: the private node, if it runs.",
    )(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json`` to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")(command)


def resolve_url(given: str | None, note: Callable[[str], None]) -> str:
    """Return the road's URL.

    Args:
        given: The value of ``--url``, or None.
        note: Says to a person what was chosen when nothing was named.

    Raises:
        BrokerUnreachable: None is named and no private node runs.
        MissingPath: The file that the environment names cannot be read.
    """
    if given:
        return given
    for variable, file_variable in ((URL_VARIABLE, URL_FILE_VARIABLE), (AMQP_URL_VARIABLE, AMQP_URL_FILE_VARIABLE)):
        if from_environment := os.environ.get(variable):
            return from_environment
        if path := os.environ.get(file_variable):
            try:
                return Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise MissingPath(f"Cannot read {path}, which {file_variable} names: {error.strerror}.") from error
    from modelcast.shared.localbroker.host import default_state_dir  # noqa: PLC0415 - only when nothing is named
    from modelcast.shared.localbroker.node import PrivateNode  # noqa: PLC0415

    node = PrivateNode(default_state_dir())
    if node.status().running:
        note("Broker: the private node that runs here (modelcast broker status).")
        return node.url
    raise BrokerUnreachable(
        "No broker is named and no private one runs.",
        hint=f'Set {URL_VARIABLE} (a shared directory is a road, too: file:///srv/models), or start a private one: '
        f'export {AMQP_URL_VARIABLE}="$(modelcast broker start)"',
    )


def quiet_logs() -> None:
    """Send the library's log events to stderr, warnings and worse only: stdout belongs to the command's data."""
    import logging  # noqa: PLC0415 - --help need not load it
    import sys  # noqa: PLC0415

    import structlog  # noqa: PLC0415 - 240 ms

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
