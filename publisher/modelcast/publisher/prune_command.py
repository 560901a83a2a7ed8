"""The command ``modelcast prune``: makes room in a shared directory. Importing it loads click only."""

import click

from modelcast.shared.cli.connection import json_option, resolve_url
from modelcast.shared.cli.output import Output, as_size
from modelcast.shared.errors import MisuseError


@click.command()
@click.argument("url", required=False)
@click.option("--model", "models", multiple=True, metavar="NAME", help="Name of a model; may be repeated. Left out: all.")
@click.option("--keep", required=True, type=click.IntRange(1), metavar="N", help="So many of the newest are kept in any case.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@json_option
def prune(*, url: str | None, models: tuple[str, ...], keep: int, dry_run: bool, as_json: bool) -> None:
    """Remove old releases from a shared directory: their orders, and the chunks that no other release needs.

    Kept is, besides the newest: what each channel runs by its orders and would run without that, what it was ordered last and rolled
    back to last, and what any instance said last that it runs. Nothing goes while a record or an order cannot be read. A version that
    was pruned keeps its meaning; published again, its bytes are sent again.

    \b
    Example:
      modelcast prune file:///srv/models --model fraud --keep 3 --dry-run
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.publisher.pruning import prune as carry_out  # noqa: PLC0415 - --help need not load the library
    from modelcast.shared.file_road import FileRoad  # noqa: PLC0415
    from modelcast.shared.roads import open_road  # noqa: PLC0415

    output = Output(as_json=as_json)
    road = open_road(resolve_url(url, output.note))
    if not isinstance(road, FileRoad):
        raise MisuseError("Only a shared directory is pruned.", hint="RabbitMQ drops the oldest by itself (docs/running.md).")
    results = carry_out(road.depot, models, keep, tries=dry_run)
    if as_json:
        output.document({"dry_run": dry_run, "models": [
            {
                "model": pruned.model, "removed_chunks": pruned.removed_chunks, "freed_bytes": pruned.freed_bytes,
                "releases": [
                    {"version": fate.version, "release": fate.release, "size": fate.size, "kept_because": list(fate.reasons)}
                    for fate in pruned.fates
                ],
            }
            for pruned in results
        ]})
        return
    gone = "goes" if dry_run else "gone"
    rows = [
        (pruned.model, fate.version, as_size(fate.size), f"kept: {', '.join(fate.reasons)}" if fate.reasons else gone)
        for pruned in results for fate in pruned.fates
    ]
    output.table(("model", "version", "size", "what becomes of it"), rows, whole=("version",))
    freed, chunks = sum(pruned.freed_bytes for pruned in results), sum(pruned.removed_chunks for pruned in results)
    output.data(f"{'Would free' if dry_run else 'Freed'} {as_size(freed)} in {chunks} chunks.")
