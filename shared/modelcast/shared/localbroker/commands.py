"""The command ``modelcast broker``: a private RabbitMQ node to try things out with.

Decides what is printed and the exit status; everything else is in ``node``. Importing it loads click and the errors only.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from modelcast.shared.cli.output import Output, printable

NOT_RUNNING = 3
"""Exit status of ``broker status`` when the node does not run, as of an init script."""


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every command of this group has."""
    command = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(command)
    return click.option(
        "--state-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="The folder of the node; the user's state folder if left out.",
    )(command)


def _folder(state_dir: Path | None) -> Path:
    from modelcast.shared.localbroker.host import default_state_dir  # noqa: PLC0415 - --help need not load it

    return state_dir or default_state_dir()


@click.group()
def broker() -> None:
    """A private RabbitMQ on this machine: no root, loopback only, apart from the system's own.

    \b
    Example:
      export MODELCAST_AMQP_URL="$(modelcast broker start)"
    """  # noqa: D301 - \b is click's mark for text that is not wrapped


@broker.command()
@_common
@click.option("--port", type=click.IntRange(1, 65535), help="AMQP port; a free one if left out.")
def start(*, state_dir: Path | None, as_json: bool, port: int | None) -> None:
    """Start the node, or find it running, and print its AMQP URL.

    As root on Debian and Ubuntu RabbitMQ is installed first if it is missing.

    \b
    Example:
      modelcast broker start
      modelcast broker start --state-dir ./broker --port 5673
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.shared.localbroker.chooser import ensure_installed  # noqa: PLC0415 - --help need not load it
    from modelcast.shared.localbroker.node import PrivateNode  # noqa: PLC0415

    output = Output(as_json=as_json)
    ensure_installed(output.note)
    node = PrivateNode(_folder(state_dir), port=port)
    already = node.status().running
    node.start()
    status = node.status()
    output.note(f"The private RabbitMQ node {'already runs' if already else 'runs'} (process {status.pid}, {status.state_dir}).")
    if as_json:
        output.document({**asdict(status), "started_here": not already})
    else:
        output.data(node.application_url)


@broker.command()
@_common
@click.pass_context
def status(ctx: click.Context, *, state_dir: Path | None, as_json: bool) -> None:
    """Tell whether the node runs: exit status 0, or 3 when it does not.

    \b
    Example:
      modelcast broker status --json
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.shared.localbroker.node import PrivateNode  # noqa: PLC0415 - --help need not load it

    output = Output(as_json=as_json)
    found = PrivateNode(_folder(state_dir)).status()
    if as_json:
        output.document(asdict(found))
    elif found.running:
        output.data(f"running   process {found.pid}")
        output.data(f"url       {found.url}")
        output.data(f"streams   127.0.0.1:{found.stream_port}")
        output.data(f"folder    {found.state_dir}")
        output.data(f"log       {found.log}")
    elif found.pid is not None:
        output.data(f"not ready   process {found.pid} does not answer yet")
    else:
        output.data("not running")
    if not found.running:
        ctx.exit(NOT_RUNNING)


@broker.command()
@_common
def stop(*, state_dir: Path | None, as_json: bool) -> None:
    """Stop the node and wait until it is gone; what it holds stays for the next start.

    \b
    Example:
      modelcast broker stop
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.shared.localbroker.node import PrivateNode  # noqa: PLC0415 - --help need not load it

    output = Output(as_json=as_json)
    node = PrivateNode(_folder(state_dir))
    was_running = node.status().pid is not None
    node.stop()
    output.note("The private RabbitMQ node is stopped." if was_running else "The private RabbitMQ node did not run.")
    if as_json:
        output.document({"stopped": was_running})


@broker.command()
@_common
@click.option("-n", "--lines", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many lines.")
def logs(*, state_dir: Path | None, as_json: bool, lines: int) -> None:
    """Print the end of the node's log.

    \b
    Example:
      modelcast broker logs -n 100
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.shared.localbroker.node import PrivateNode  # noqa: PLC0415 - --help need not load it

    output = Output(as_json=as_json)
    node = PrivateNode(_folder(state_dir))
    text = node.log_text(lines).splitlines()
    if as_json:
        output.document({"log": node.status().log, "lines": text})
        return
    for line in text:
        output.data(printable(line))   # a client's name can be in it
