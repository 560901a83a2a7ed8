"""The command ``modelcast bridge``: carries releases and orders from one road to another. Importing it loads click only."""

from typing import TYPE_CHECKING

import click

from modelcast.shared.cli.connection import json_option, quiet_logs
from modelcast.shared.cli.output import Output, as_size
from modelcast.shared.errors import HostFault, PublisherBusy, SenderFault

if TYPE_CHECKING:
    from modelcast.publisher.bridge import Carried

FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS = 1.0, 60.0


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--model", required=True, help="Name of the model.")
@click.option("--channel", default="production", show_default=True, help="Name of the channel.")
@click.option("--name", "instance", default="bridge", show_default=True, help="Name of the bridge among the instances of FROM.")
@click.option("--once", is_flag=True, help="Carry what is there, and end.")
@json_option
def bridge(*, source: str, target: str, model: str, channel: str, instance: str, once: bool, as_json: bool) -> None:
    """Carry releases and their orders from one road to another, signatures unbroken.

    Passwords and tokens stand in no argument: name a file with the address as @/path/of/the/file.

    \b
    Example:
      modelcast bridge @/etc/modelcast/queue file:///srv/models --model fraud --channel production
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.publisher.bridge import Bridge  # noqa: PLC0415 - --help need not load the library
    from modelcast.shared.names import check_name  # noqa: PLC0415
    from modelcast.shared.road import Target  # noqa: PLC0415
    from modelcast.shared.roads import open_road  # noqa: PLC0415

    quiet_logs()
    for kind, name in (("model", model), ("channel", channel), ("instance", instance)):
        check_name(kind, name)
    output, failures, is_new = Output(as_json=as_json), 0, False
    carrying = Bridge(open_road(_address(source)), open_road(_address(target)), Target(model, channel, instance))

    def tell(carried: "Carried") -> None:
        """Say what was carried, and count it as progress."""
        nonlocal failures, is_new
        failures, is_new = 0, is_new or not carried.was_there
        _tell(output, carried, as_json=as_json)

    def refused(fault: SenderFault) -> None:
        """Say which order was not carried, and why."""
        output.note(f"An order was refused and is a dead letter of {instance} now: {fault}")

    while True:
        is_new = False
        try:
            carrying.run(tell, refused, once=once)
        except (HostFault, PublisherBusy) as fault:
            if once and not is_new:   # a broker hangs up on who carries for minutes: what was carried is settled in a second run
                raise
            failures += 1
            _rest(output, fault, failures)
        else:
            return


def _address(given: str) -> str:
    """Return the address that was given, or the one in the file that was."""
    if not given.startswith("@"):
        return given
    from pathlib import Path  # noqa: PLC0415 - see above

    from modelcast.shared.errors import MissingPath  # noqa: PLC0415

    try:
        return Path(given[1:]).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise MissingPath(f"Cannot read {given[1:]}: {error.strerror}.") from error


def _tell(output: Output, carried: "Carried", *, as_json: bool) -> None:
    if as_json:
        output.document({
            "version": carried.version, "release": carried.release, "sequence": carried.sequence, "sent_bytes": carried.sent_bytes,
            "total_bytes": carried.total_bytes, "was_there": carried.was_there,
        })
    elif carried.was_there:
        output.data(f"{carried.version} {carried.release[:12]} order {carried.sequence}: was there")
    else:
        sizes = f"{as_size(carried.sent_bytes)} of {as_size(carried.total_bytes)}"
        output.data(f"{carried.version} {carried.release[:12]} order {carried.sequence}: carried, {sizes} sent")


def _rest(output: Output, fault: Exception, failures: int) -> None:
    import random  # noqa: PLC0415 - see above
    import time  # noqa: PLC0415

    most = min(MOST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(failures, 10))
    seconds = random.uniform(FIRST_PAUSE_SECONDS / 2, most)  # noqa: S311 - spreads attempts, guards nothing
    output.note(f"{fault} Trying again in {seconds:.0f} s.")
    time.sleep(seconds)
