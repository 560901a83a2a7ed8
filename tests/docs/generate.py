"""Write the generated parts of the documentation: ``python tests/docs/generate.py``; a test holds them to the code.

Also the JSON schemas in ``docs/reference/json``, whose source is ``schemas.py``. A part stands between ``<!-- generated:NAME -->`` and ``<!-- end -->``. Signatures and descriptions come from the source text,
so that every version of Python generates the same.
"""

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from modelcast import consumer, publisher
from modelcast.consumer import lifecycle, metrics, pointer
from modelcast.publisher.server import settings
from modelcast.publisher.server.routes import PREFIX, ROUTES
from modelcast.publisher.server.tokens import SCOPES
from modelcast.shared import errors, limits, manifest, order, permissions, report, signing, topology
from modelcast.shared.cli.main import cli
from modelcast.shared.reasons import EXPLANATIONS

ROOT = Path(__file__).resolve().parents[2]
PART = re.compile(r"(?s)(<!-- generated:([\w-]+) -->\n).*?(<!-- end -->)")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in line) + " |\n" for line in lines)


def one_line(text: str) -> str:
    """Docstring text as Markdown: one line, with single backticks."""
    return " ".join(text.replace("``", "`").split())


# --------------------------------------------------------------------------- docstrings and signatures


@dataclasses.dataclass
class Doc:
    """A Google-style docstring taken apart."""

    text: str
    sections: dict[str, list[tuple[str, str]]]

    def items(self, section: str) -> dict[str, str]:
        return dict(self.sections.get(section, []))


def doc_of(thing: Any) -> Doc:
    lines = inspect.cleandoc(thing.__doc__ or "").splitlines()
    text: list[str] = []
    sections: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] | None = None
    for line in lines:
        head = re.fullmatch(r"(Args|Attributes|Returns|Raises):", line)
        item = re.fullmatch(r"    ([\w, ]+): (.*)", line)
        if head:
            current = sections.setdefault(head[1], [])
        elif current is None:
            text.append(line)
        elif item:
            current.append((item[1], item[2]))
        elif line.strip() and current:
            current[-1] = (current[-1][0], f"{current[-1][1]} {line.strip()}")
        elif line.strip():
            current.append(("", line.strip()))
    return Doc(one_line("\n".join(text)), {name: [(k, one_line(v)) for k, v in found] for name, found in sections.items()})


def tree_of(cls: type) -> ast.ClassDef:
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    return tree


def signature(name: str, function: ast.FunctionDef) -> str:
    """The signature as it stands in the source, one parameter on each line when it is long."""
    arguments, lines = function.args, list[str]()
    first = len(arguments.args) - len(arguments.defaults)
    for index, argument in enumerate(arguments.args):
        lines.append(_parameter(argument, arguments.defaults[index - first] if index >= first else None))
    lines += ["*"] if arguments.kwonlyargs else []
    lines += [_parameter(argument, default) for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    lines = [line for line in lines if line != "self"]
    returns = f" -> {ast.unparse(function.returns)}" if function.returns is not None and function.name != "__init__" else ""
    short = f"{name}({', '.join(lines)}){returns}"
    return short if len(short) <= 100 else f"{name}(\n" + "".join(f"    {line},\n" for line in lines) + f"){returns}"


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation is not None else ""
    return f"{argument.arg}{kind}" + (f" = {ast.unparse(default)}" if default is not None else "")


def members(cls: type) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree_of(cls).body:
        if isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__init__"):
            yield node.name, node


def fields_of(cls: type) -> list[tuple[str, str, str]]:
    """Name, type and default of a dataclass's fields, from the source."""
    return [
        (node.target.id, ast.unparse(node.annotation), ast.unparse(node.value) if node.value is not None else "")
        for node in tree_of(cls).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not node.target.id.startswith("_")
    ]


# --------------------------------------------------------------------------- the parts


def state_diagram() -> str:
    return f"```mermaid\n{lifecycle.mermaid()}\n```\n"


PURPOSES = {
    "modelcast.<model>.chunks": "The chunks of all releases of a model",
    "modelcast.<model>.releases": "The register: what was begun, released and ordered",
    "modelcast.<model>.publishing": "A lock: one publisher of a model at a time; goes with its connection",
    "modelcast.<model>.ordering": "A lock: one who orders at a time; a publisher lets go of it while it sends a large artifact",
    "modelcast.<model>.<channel>": "Orders",
    "modelcast.<model>.<channel>.announcements": "What is being sent at this moment, and will be ordered; in no history",
    "modelcast.<model>.<channel>.history": "Every order, for instances that join late",
    "modelcast.<model>.<channel>.at.<instance>": "The orders of one instance",
    "modelcast.dead": "Orders that instances rejected",
    "modelcast.reports": "Verdicts and states of instances",
}


def topology_table() -> str:
    names = {"m0": "<model>", "c0": "<channel>", "i0": "<instance>"}

    def named(text: str) -> str:
        return ".".join(names.get(part, part) for part in text.split("."))

    parts = [
        *topology.model_parts("m0"), *topology.publisher_locks("m0"), *topology.instance_parts("m0", "c0", "i0"),
        *topology.channel_parts("m0", "c0"),
    ]
    bound = {part.queue: named(part.exchange) for part in parts if isinstance(part, topology.Binding)}
    rows: dict[str, list[str]] = {}
    for part in parts:
        if isinstance(part, topology.Binding):
            continue
        name = named(part.name)
        row = rows.setdefault(name, [f"`{name}`", "", "", PURPOSES[name]])
        if isinstance(part, topology.Exchange):
            kind = f"{part.kind} exchange"
        else:
            arguments = dict(part.arguments)
            kind = str(arguments.pop("x-queue-type", "classic")).replace("classic", "classic queue")
            kind += ", exclusive" if part.exclusive else ""
            source = bound.get(part.name)
            kind += f", bound to `{source}`" if source not in {None, name} else ""
            row[2] = "<br>".join(f"`{key}={_size(key, value)}`" for key, value in arguments.items())
        row[1] = f"{row[1]} and {kind}" if row[1] else kind
    return table(["Name", "Kind", "Arguments", "Holds"], rows.values())


def _size(key: str, value: object) -> str:
    if key.endswith("bytes") and isinstance(value, int):
        return f"{value} ({value // limits.GIB} GiB)" if value >= limits.GIB else f"{value} ({value // limits.MIB} MiB)"
    return str(value)


def permissions_table() -> str:
    rows = []
    for role in permissions.Role:
        least = permissions.patterns(role, [("m0", "c0")])
        rows.append((role, *(f"`{pattern.replace('m0', 'M').replace('c0', 'C')}`" for pattern in (least.configure, least.write, least.read))))
    return table(["Role", "configure", "write", "read"], rows)


def reasons_table() -> str:
    rows = [(f"`{reason}`", e.happened, e.fault, e.remedy) for reason, e in EXPLANATIONS.items()]
    return table(["Reason", "What happened", "Whose fault", "What to do"], rows)


FAMILIES = {
    errors.SenderFault: ("sender", "the order is rejected"), errors.HostFault: ("host", "tried again"),
    errors.MisuseError: ("caller", "nothing was sent or changed"),
}


def exit_codes() -> str:
    found = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.ModelcastError)]
    rows: list[tuple[int, str, str, str]] = [
        (0, "", "", "Done; with `publish --wait`: as many instances promoted as were waited for."),
        (3, "", "", "`publish --wait`: some instance rejected the release. `broker status`: the node does not run."),
        (36, "", "", "`dead-letters replay`: some could not be sent back; they stay where they are."),
        (37, "", "", "`promote --waves`, `rollout`: the rollout halted, or was aborted."),
        (38, "", "", "`promote --waves`, `rollout`: the rollout was left behind, because something else was ordered; or another command goes on with it, or shall."),
        (32, "", "", "`fleet`: not every instance serves what was ordered last."),
        (34, "", "", "`preflight`: some instance would refuse the release, or has not answered."),
        (33, "", "", "`doctor`: something is worse than a warning."),
        (10, "", "", "`publish --wait`: the time ran out before enough instances had decided."),
        (130, "", "", "Interrupted (Ctrl-C)."),
    ]
    for cls in found:
        family = next((f"{who}: {then}" for base, (who, then) in FAMILIES.items() if issubclass(cls, base)), "")
        meaning = "Any other failure." if cls is errors.ModelcastError else doc_of(cls).text
        rows.append((cls.exit_code, f"`{cls.__name__}`", family, meaning))
    return table(["Exit status", "Error", "Whose fault: what happens", "Meaning"], sorted(rows, key=lambda row: (row[0], row[1])))


def commands() -> str:
    return "\n".join(_help(["modelcast"], cli))


def _help(path: list[str], command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=" ".join(path), terminal_width=110, help_option_names=["-h", "--help"])
    title = "##" if len(path) < 3 else "###"
    yield f"{title} {' '.join(path)}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _help([*path, name], child)


def api(room: Any) -> Callable[[], str]:
    def write() -> str:
        found = [getattr(room, name) for name in room.__all__]
        return "\n".join(_class(room.__name__, each) if isinstance(each, type) else _function(room.__name__, each) for each in found)

    return write


def _function(room: str, function: Callable[..., Any]) -> str:
    told, name = doc_of(function), function.__name__
    (node,) = ast.parse(inspect.getsource(function)).body
    assert isinstance(node, ast.FunctionDef)
    lines = [f"### {name}\n", f"`from {room} import {name}`\n", told.text + "\n", f"```text\n{signature(name, node)}\n```\n"]
    return "\n".join(filter(None, [*lines, *(_bullets(told, section) for section in ("Args", "Returns", "Raises"))]))


def _class(room: str, cls: type) -> str:
    described, methods = doc_of(cls), dict(members(cls))
    lines = [f"### {cls.__name__}\n", f"`from {room} import {cls.__name__}`\n", described.text + "\n"]
    if "__init__" in methods:
        lines += [f"```text\n{signature(cls.__name__, methods.pop('__init__'))}\n```\n", _bullets(described, "Args")]
    else:
        meanings = described.items("Attributes")
        rows = [(f"`{name}`", f"`{kind}`", f"`{value}`" if value else "", meanings.get(name, "")) for name, kind, value in fields_of(cls)]
        lines.append(table(["Field", "Type", "Default", "Meaning"], rows))
    lines.append(_bullets(described, "Raises"))
    for name, node in methods.items():
        told = doc_of(inspect.getattr_static(cls, name))
        is_property = any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list)
        head = f"{name}: {ast.unparse(node.returns)}" if is_property and node.returns else signature(name, node)
        lines += [f"```text\n{cls.__name__}.{head}\n```\n", told.text + "\n"]
        lines += [_bullets(told, section) for section in ("Args", "Returns", "Raises")]
    return "\n".join(filter(None, lines))


def _bullets(described: Doc, section: str) -> str:
    items = described.sections.get(section, [])
    listed = "".join(f"* `{name}`: {text}\n" if name and section != "Raises" else f"* {name}{': ' if name else ''}{text}\n" for name, text in items)
    return f"{section}:\n\n{listed}" if items else ""


def wire(*classes: type) -> Callable[[], str]:
    def write() -> str:
        return "\n".join(_wire_table(cls) for cls in classes)

    return write


def _wire_table(cls: Any) -> str:
    told = doc_of(cls)
    meanings, rows = told.items("Attributes"), []
    for name, found in cls.model_fields.items():
        rows.append((f"`{name}`", _kind(found), "yes" if found.is_required() or (name, found.annotation) == ("format", int) else "no", meanings.get(name, "")))
    has_meanings = bool(meanings)
    columns = ["Field", "Kind", "Required", "Meaning"] if has_meanings else ["Field", "Kind", "Required"]
    title = f"**{cls.__name__}.** {told.text}\n\n"
    return title + table(columns, [row if has_meanings else row[:3] for row in rows])


_PLAIN = {"str": "text", "bytes": "bytes", "int": "integer", "float": "number", "bool": "boolean", "NoneType": "nil", "Any": "anything"}


def _kind(found: Any) -> str:
    bounds: list[str] = []
    for rule in found.metadata:
        for label, sign in (("ge", "≥ "), ("gt", "> "), ("le", "≤ "), ("lt", "< "), ("min_length", "at least "), ("max_length", "at most ")):
            value = getattr(rule, label, None)
            if value is not None:
                bounds.append(f"{sign}{'2^63' if value == 2**63 else value}{' long' if 'length' in label else ''}")
        if getattr(rule, "pattern", None):
            bounds.append(f"`{rule.pattern}`")
    if "at least 32 long" in bounds and "at most 32 long" in bounds:
        bounds = ["32 long"]
    return ", ".join([_type(found.annotation), *bounds])


def _type(kind: Any) -> str:
    arguments = getattr(kind, "__args__", ())
    origin = getattr(kind, "__origin__", None)
    if hasattr(kind, "__metadata__"):
        return _type(origin)
    if origin is dict:
        return f"map of text to {_type(arguments[1])}"
    if origin is tuple:
        return f"array of {_type(arguments[0])}"
    if arguments:
        return " or ".join(_type(argument) for argument in arguments)
    if isinstance(kind, type) and hasattr(kind, "__members__"):
        return " / ".join(f"`{member}`" for member in kind.__members__.values())
    name = getattr(kind, "__name__", str(kind))
    return _PLAIN.get(name, name)


def limits_table() -> str:
    meanings = doc_of(limits.Limits).items("Attributes")
    rows = [
        (f"`{field.name}`", _bytes(getattr(limits.DEFAULT_LIMITS, field.name), field.name), meanings[field.name])
        for field in dataclasses.fields(limits.Limits)
    ]
    return table(["Limit", "Value", "Meaning and reason"], rows)


def _bytes(value: int, name: str) -> str:
    for unit, size in (("GiB", limits.GIB), ("MiB", limits.MIB), ("KiB", limits.KIB)):
        if name.endswith("bytes") and value % size == 0:
            return f"{value:,} ({value // size} {unit})"
    return f"{value:,}"


def pointer_fields() -> str:
    meanings = doc_of(pointer.Pointer).items("Attributes")
    return table(["Field", "Meaning"], [(f"`{name}`", meanings[name]) for name, _, _ in fields_of(pointer.Pointer)])


def payload_types() -> str:
    return table(
        ["What", "Payload type (signed with it)"],
        [
            ("manifest", f"`{manifest.MANIFEST_TYPE}`"), ("order", f"`{order.ORDER_TYPE}`"),
            ("announcement: the fields of an order", f"`{order.ANNOUNCEMENT_TYPE}`"),
            ("draft: a manifest whose digests are zeros", f"`{order.DRAFT_TYPE}`"),
        ],
    ) + f"\nAt most {signing.MAX_SIGNATURES} signatures of an envelope are looked at.\n"


def measured(kind: str) -> Callable[[], str]:
    """The tables of a benchmark's result that is kept."""
    def write() -> str:
        from tests.benchmarks.page import part  # not at the top: as a program this one has only its own folder on the path then

        return part(kind)()

    return write


def scaled(kind: str) -> Callable[[], str]:
    """Return what writes a table of ``tests/benchmarks/scale_tables.py``; imported when it is asked for."""
    def write() -> str:
        from tests.benchmarks import scale_tables

        return scale_tables.part(kind)()

    return write


# --------------------------------------------------------------------------- HTTP


def http_routes() -> str:
    rows = [
        (f"`{route.method} {PREFIX}{route.path.replace(':path}', '}')}`", "anybody" if route.is_open else " or ".join(route.scopes), one_line(route.summary))
        for route in sorted(ROUTES, key=lambda route: (route.path, route.method))
    ]
    return table(("Route", "Scope", "What it does"), rows)


def http_scopes() -> str:
    return table(("Scope", "Allows to"), [(f"`{scope}`", text) for scope, text in SCOPES.items()])


def http_limits() -> str:
    values, doc = settings.ServerLimits(), doc_of(settings.ServerLimits)
    rows = [(f"`{name}`", f"{getattr(values, name):,}", text) for name, text in doc.items("Attributes").items()]
    return table(("Limit", "Value", "Meaning"), rows)


def json_commands() -> str:
    """The table of the documents; imported when it is asked for, as the benchmarks are."""
    from tests.docs import schemas

    return table(("Command", "When", "Document", "Schema"), schemas.command_rows())


def json_parts() -> str:
    from tests.docs import schemas

    return "\n".join(_json_part(*section) for section in schemas.sections())


def _json_part(name: str, about: str, rows: list[tuple[str, str, str]], bases: list[str]) -> str:
    also = f" It has all fields of {' and '.join(bases)}, and these:" if bases else ""
    fields = table(("Field", "Type", "Meaning"), rows) if rows else ""
    return f"### {name}\n\n{about}{also}\n" + (f"\n{fields}" if fields else "")


def metrics_table() -> str:
    rows = [(f"`{found.name}`", found.kind, ", ".join(f"`{label}`" for label in found.labels), found.help) for found in metrics.FAMILIES]
    return table(("Metric", "Type", "Labels", "Says"), rows)


def alerts_table() -> str:
    groups = yaml.safe_load((ROOT / "docs/monitoring/alerts.yml").read_text(encoding="utf-8"))["groups"]
    rows = [
        (f"`{rule['alert']}`", rule["labels"]["severity"], rule.get("for", "at once"), f"`{rule['expr']}`", rule["annotations"]["description"])
        for group in groups for rule in group["rules"]
    ]
    return table(("Alert", "Severity", "After", "When", "What it means, and what to do"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "state-diagram": state_diagram,
    "topology": topology_table,
    "permissions": permissions_table,
    "reasons": reasons_table,
    "exit-codes": exit_codes,
    "commands": commands,
    "publisher-api": api(publisher),
    "consumer-api": api(consumer),
    "manifest": wire(
        manifest.Manifest, manifest.Artifact, manifest.FileEntry, manifest.Environment, manifest.Training, manifest.Lineage,
        manifest.Samples,
    ),
    "order": wire(order.Order),
    "report": wire(report.Report),
    "limits": limits_table,
    "pointer": pointer_fields,
    "payload-types": payload_types,
    "benchmarks-fanout": measured("fanout"),
    "benchmarks-growth": measured("growth"),
    "benchmarks-delta": measured("delta"),
    "benchmarks-small": measured("small"),
    "json-commands": json_commands,
    "json-parts": json_parts,
    "metrics": metrics_table,
    "alerts": alerts_table,
    "http-routes": http_routes,
    "http-scopes": http_scopes,
    "http-limits": http_limits,
    "benchmarks-stall": measured("stall"),
    "benchmarks-memory": measured("memory"),
    "scale-units": scaled("units"),
    "scale-measured": scaled("measured"),
    "scale-fleets": scaled("fleets"),
}


def generated(text: str) -> str:
    """The text of a page with its generated parts written anew."""
    return PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}{match[3]}", text)


def pages_with_parts() -> list[Path]:
    return [page for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if PART.search(page.read_text(encoding="utf-8"))]


def main(*, check: bool) -> int:
    """Write what is stale, or with ``check`` only name it; returns the number of stale pages."""
    stale = 0
    for page in pages_with_parts():
        before = page.read_text(encoding="utf-8")
        after = generated(before)
        if after != before:
            stale += 1
            if not check:
                page.write_text(after, encoding="utf-8")
            sys.stdout.write(f"{page.relative_to(ROOT)} {'is stale' if check else 'written'}\n")
    return stale + _schemas(check=check)


def _schemas(*, check: bool) -> int:
    """Write the JSON schemas that are stale, and remove those of no command; returns how many they are."""
    from tests.docs import schemas

    wanted = {ROOT / "docs/reference/json" / name: text for name, text in schemas.files().items()}
    there = {path: path.read_text(encoding="utf-8") for path in (ROOT / "docs/reference/json").glob("*")}
    stale = sorted(path for path in {*wanted, *there} if wanted.get(path) != there.get(path))
    for path in stale:
        if not check and path in wanted:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        elif not check:
            path.unlink()
        sys.stdout.write(f"{path.relative_to(ROOT)} {'is stale' if check else 'written' if path in wanted else 'removed'}\n")
    return len(stale)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    only_check = "--check" in sys.argv[1:]
    sys.exit(1 if main(check=only_check) and only_check else 0)
