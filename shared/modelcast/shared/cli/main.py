"""The command ``modelcast``: finds the rooms' commands by entry point and imports one only when it is called.

Decides how every command ends: typed errors become two lines and an exit code, anything else one line and a hint to
``--debug``. Of a command it knows a summary at most, for the list; a command without one works all the same.
"""

import os
import signal
import sys
from importlib.metadata import entry_points, version
from typing import Any

import click

from modelcast.shared.cli.output import print_error
from modelcast.shared.errors import MisuseError, ModelcastError

HELP = """Carry each new model into every running instance: no restart, no failed request, no doubt.

\b
Examples:
  modelcast broker start                     a private RabbitMQ to try things out
  modelcast keys generate keys/training      a signing key and its public half
  modelcast publish model.joblib --model fraud --version 1.0.0 --format joblib \\
      --key keys/training.key --wait 3
  modelcast dead-letters list                what instances refused, and why
  modelcast demo                             the whole story in a minute
"""

_SUMMARIES = {
    "bridge": "Carry releases and orders from one road to another.",
    "broker": "A private local RabbitMQ: start, status, stop, logs.",
    "dead-letters": "What instances rejected, and why: list, show, explain, export, replay, purge.",
    "demo": "The whole story with a real broker, a real model and a real application.",
    "doctor": "What is wrong here: road, permissions, host, keys, store; and what to do.",
    "fleet": "Which instance serves which version, who is behind, and why.",
    "history": "What was ordered when, by which key, and what came of it.",
    "keys": "Signing keys: generate, show.",
    "preflight": "Ask the instances whether they would take a release, before a byte of it is sent.",
    "promote": "Order a channel to run a release that is there, such as one that staging accepted.",
    "prune": "Remove old releases from a shared directory.",
    "releases": "The releases of a model, and the channels that run them.",
    "retire": "Say that an instance does not come back: the fleet forgets it.",
    "rollback": "Order a channel to go back.",
    "rollout": "A release that goes to a channel in waves: status, pause, resume, abort.",
    "serve": "Serve a shared directory by HTTP.",
    "tokens": "Bearer tokens for modelcast serve: create, list, revoke.",
    "topology": "What a channel has on a broker, and what a user needs there.",
    "publish": "Publish a model file or directory as a signed release.",
    "why": "Why instances took a version or refused it.",
}


class FrontDoor(click.Group):
    """A group whose commands are entry points, imported on demand: listing them imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all registered commands."""
        del ctx
        return sorted(point.name for point in entry_points(group="modelcast.commands"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, or None when no room registered it."""
        del ctx
        for point in entry_points(group="modelcast.commands"):
            if point.name == cmd_name:
                command: click.Command = point.load()
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the summaries, without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _SUMMARIES.get(name, "")) for name in self.list_commands(ctx)])


@click.group(cls=FrontDoor, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("modelcast"), prog_name="modelcast")
@click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error.")
def cli(*, debug: bool) -> None:
    """Hold the options that stand before the command."""
    del debug


def main() -> None:
    """Run ``modelcast`` and exit with a documented status."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line.

    Args:
        arguments: The words after ``modelcast``.

    Returns:
        The exit status (see ``docs/reference/exit-codes.md``).
    """
    as_json = "--json" in arguments
    try:
        outcome: Any = cli.main(arguments, prog_name="modelcast", standalone_mode=False)
    except ModelcastError as error:
        print_error(error, as_json=as_json)
        return error.exit_code
    except click.ClickException as error:
        if as_json:
            print_error(MisuseError(error.format_message()), as_json=True)
        else:
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())   # the reader left; say nothing at exit either
        return 0
    except Exception as error:
        if "--debug" in arguments:
            raise
        hint = "run again with --debug for the traceback: modelcast --debug …"
        unexpected = ModelcastError(f"unexpected {type(error).__name__}: {error}", hint=hint)
        print_error(unexpected, as_json=as_json)
        return unexpected.exit_code
    return outcome if isinstance(outcome, int) else 0
