"""The command ``modelcast demo``: checks that it can run, tells the story, ends with the table and the exit status.

Decides what is printed where. It is the edge: logging and signals are set here and nowhere else in the demo. Importing it
loads click and the table of contents only.
"""

import click

from modelcast.publisher.demo.contents import SKIPPABLE
from modelcast.shared.cli.connection import json_option, quiet_logs
from modelcast.shared.cli.output import Output
from modelcast.shared.errors import MisuseError


@click.command()
@click.option("--keep", is_flag=True, help="Keep the folder (stores, keys, logs), and the broker if it was started for this.")
@click.option(
    "--requests-per-second", type=click.FloatRange(1, 1000), default=50.0, show_default=True,
    help="How often each instance is asked for a prediction.",
)
@click.option(
    "--road", type=click.Choice(["auto", "rabbitmq", "file", "http"]), default="auto", show_default=True,
    help="What carries the releases; auto is a shared directory only where no RabbitMQ can be had.",
)
@click.option(
    "--skip", type=click.Choice(SKIPPABLE), multiple=True, help="Leave a chapter out; may be repeated.",
)
@json_option
def demo(*, as_json: bool, keep: bool, requests_per_second: float, road: str, skip: tuple[str, ...]) -> int:
    """Tell the whole story in a minute: publish, swap, reject, crash, join late, stage, roll back, roll out in waves.

    Starts instances of a small web application, asks them for predictions all the time, and shows what becomes of good and
    bad releases. Uses the broker that MODELCAST_URL or
    MODELCAST_AMQP_URL names, or finds or starts one; with --road file there is none,
    and with --road http a server stands before the directory. Ends with 0 when no request failed
    and everything went as it should, with 1 when something did not. With --json the story goes to stderr and one object to
    stdout.

    \b
    Example:
      modelcast demo
      modelcast demo --json 2>story.txt
      modelcast demo --road file --skip staging --skip rollback
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    import signal  # noqa: PLC0415 - --help need not load any of this
    from importlib.util import find_spec  # noqa: PLC0415

    if road == "http" and (find_spec("uvicorn") is None or find_spec("starlette") is None):
        raise MisuseError("The server needs uvicorn and Starlette.", hint="Install them: pip install 'modelcast[demo,server]'")
    if find_spec("sklearn") is None:
        raise MisuseError("The demo trains a model with scikit-learn, which is not installed.", hint="pip install 'modelcast[demo]'")

    from modelcast.publisher.demo.closing import document, draw, problems  # noqa: PLC0415 - see above
    from modelcast.publisher.demo.story import tell_story  # noqa: PLC0415

    quiet_logs()
    signal.signal(signal.SIGTERM, signal.default_int_handler)   # ends like Ctrl-C: what was started is stopped
    output = Output(as_json=as_json)
    record = tell_story(output, requests_per_second=requests_per_second, keep=keep, road=road, skip=skip)
    found = problems(record)
    draw(record, found, output)
    if as_json:
        output.document(document(record, found))
    return 1 if found else 0
