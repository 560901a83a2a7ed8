"""Dead letters as text for people: sentences, and both sides of what did not match. Escapes everything that is foreign."""

from typing import Any

from modelcast.consumer.deadletters.choosing import Group
from modelcast.consumer.deadletters.letter import Letter
from modelcast.shared.cli.output import as_time, printable
from modelcast.shared.limits import shortened

COLUMNS = ("id", "died (UTC)", "model", "version", "channel", "instance", "reason")


def row(letter: Letter) -> tuple[object, ...]:
    """Return a letter as a row of the table."""
    return (
        letter.id, as_time(letter.died_ms), letter.model or "?", letter.version or "?", letter.channel or "?", letter.instance or "?",
        letter.reason or f"({letter.cause}; no report)",
    )


GROUP_COLUMNS = ("letters", "instances", "models", "first (UTC)", "last (UTC)", "whose fault")


def group_row(group: Group) -> tuple[object, ...]:
    """Return a group as a row of the table: its name, then ``GROUP_COLUMNS``."""
    return (
        group.name or "?", group.letters, _few(group.instances), _few(group.models), as_time(group.first_ms), as_time(group.last_ms),
        group.fault or "",
    )


def _few(names: set[str]) -> str:
    few = sorted(names)[:3]
    return ", ".join(few) + (f" and {len(names) - len(few)} more" if len(names) > len(few) else "")


def explained(letter: Letter) -> list[str]:
    """Return what happened, whose fault it is and what to do, as lines."""
    explanation, report = letter.explanation, letter.report
    what = f"{letter.model or 'an unknown model'} {letter.version or '(version unknown)'}"
    died = as_time(letter.died_ms)
    lines = [
        f"{letter.id}: {letter.instance or 'an instance'} refused {what} for {letter.channel or '?'} at {died} UTC.",
        f"  Reason          {letter.reason or 'unknown'}",
        f"  What happened   {explanation.happened}",
    ]
    if report is not None and report.message:
        lines.append(f"  In its words    {report.message}")
    lines += [f"  Whose fault     {explanation.fault}", f"  What to do      {explanation.remedy}"]
    return [printable(line) for line in lines]


def shown(letter: Letter) -> list[str]:
    """Return everything that is known of a letter, as lines; what the message claims is marked as unverified."""
    lines = explained(letter)
    if letter.report is not None:
        lines += ["", "Facts from the instance:", *_tree(letter.report.facts), *_tree(letter.report.host)]
        if letter.report.transfer:
            lines += ["Transfer:", *_tree(letter.report.transfer)]
    lines += ["", f"The message ({letter.size_bytes} bytes; its claims, not verified here):"]
    lines.append(f"  signed by  {', '.join(letter.signed_by) or 'nobody'}")
    if letter.order is not None:
        lines += ["Order:", *_tree(letter.order.model_dump())]
    if letter.manifest is not None:
        lines += ["Manifest:", *_tree(_manifest(letter))]
    return [printable(line) for line in lines]


def _manifest(letter: Letter) -> dict[str, Any]:
    assert letter.manifest is not None
    fields = letter.manifest.model_dump()
    for entry in fields["artifact"]["files"]:
        sizes = entry.pop("chunk_sizes")
        entry.pop("chunk_digests")
        entry["chunks"] = len(sizes)
    return fields


def _tree(value: Any, indent: int = 2) -> list[str]:
    """Return nested values as indented lines, each value bounded in length."""
    pad = " " * indent
    lines: list[str] = []
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in pairs:
        if isinstance(item, dict | list | tuple) and item:
            lines += [f"{pad}{key}:", *_tree(item, indent + 2)]
        else:
            text = item.hex() if isinstance(item, bytes) else str(item)
            lines.append(f"{pad}{key}  {shortened(text, 300)}")
    return lines
