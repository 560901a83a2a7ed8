"""Each command with ``--json`` has a schema, each schema is one, and what does not fit is found."""

import json
from collections.abc import Iterator
from typing import Any

import click
import jsonschema_rs
import pytest
from tests.docs import documents, schemas
from tests.docs.documents import problems_of

from modelcast.shared.cli.output import Output

TOLD = {command: json.loads((documents.SCHEMAS / schemas.file_name(command)).read_text(encoding="utf-8")) for command in schemas.COMMANDS}


def sample(schema: dict[str, Any], defs: dict[str, Any]) -> Any:
    """A small document that fits a schema, with all fields that it names."""
    if "$ref" in schema:
        return sample(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], defs)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "string")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            fields = {name: sample(field, defs) for name, field in schema.get("properties", {}).items()}
            inner = schema.get("additionalProperties")
            fields |= {"name": sample(inner, defs)} if isinstance(inner, dict) else {}
            return {name: value for base in schema.get("allOf", ()) for name, value in sample(base, defs).items()} | fields
        case "array":
            return [sample(schema["items"], defs)]
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return True
        case _:
            return "00" * 32 if "[0-9a-f]{2}" in schema.get("pattern", "") else "a"


def broken(document: Any, schema: dict[str, Any], defs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the document again and again, each time with one field taken out or made wrong, and which."""
    if "$ref" in schema:
        yield from broken(document, defs[schema["$ref"].rpartition("/")[2]], defs)
    elif "anyOf" in schema:
        yield from broken(document, schema["anyOf"][0], defs)
    elif schema.get("type") == "array":
        yield "not a list", {}
        yield from ((f"[] {what}", [each]) for what, each in broken(document[0], schema["items"], defs))
    elif "properties" in schema:
        for base in schema.get("allOf", ()):
            yield from broken(document, base, defs)
        for name, field in schema["properties"].items():
            if name in schema["required"]:
                yield f"{name} is missing", {key: value for key, value in document.items() if key != name}
            if set(field) - {"description"}:   # else it may be anything
                yield f"{name} is wrong", document | {name: [[1]]}
            yield from ((f"{name}: {what}", document | {name: each}) for what, each in broken(document[name], field, defs))


def test_each_command_with_json_has_a_schema_and_each_schema_belongs_to_a_command() -> None:
    assert set(schemas.commands_with_json()) == set(schemas.COMMANDS) - {schemas.ERROR}
    assert {path.name for path in documents.SCHEMAS.iterdir()} == {schemas.file_name(command) for command in schemas.COMMANDS}


def test_every_part_that_is_written_down_is_part_of_some_document() -> None:
    used = {name for told in TOLD.values() for name in told["$defs"]}
    assert used == {*schemas.PARTS, *schemas.ENUMS, *schemas.MODELS}


@pytest.mark.parametrize("command", TOLD)
def test_a_schema_is_one_and_refuses_what_lacks_a_field_or_has_a_wrong_one(command: str) -> None:
    told = TOLD[command]
    jsonschema_rs.meta.validate(told)
    whole = sample(told, told["$defs"])
    assert problems_of(command, whole) == []
    if isinstance(whole, dict):
        assert problems_of(command, whole | {"a_field_of_the_next_version": 1}) == []
    tried = list(broken(whole, told, told["$defs"]))
    assert tried
    for what, document in tried:
        assert problems_of(command, document), what


@pytest.mark.parametrize(("kind", "fits", "refused"), [
    ("text or null", [None, "a"], [1, []]), ("list of integer or null", [[], [1, None]], [[1.5], ["1"], None]),
    ("map of number", [{}, {"a": 1.5}], [{"a": None}, []]), ("one of a, b", ["a"], ["c", None]), ("anything", [None, [1]], []),
    ("Step", ["behind"], ["lost"]), ("list of map of anything", [[{"a": []}]], [[1]]),
])
def test_a_kind_as_it_is_written_is_what_it_says(kind: str, fits: list[Any], refused: list[Any]) -> None:
    schema = schemas._kind(kind)
    check = jsonschema_rs.Draft202012Validator({**schema, "$defs": schemas._needed(schema)})
    assert all(check.is_valid(each) for each in fits)
    assert not any(check.is_valid(each) for each in refused)


def test_a_kind_that_is_none_is_noticed() -> None:
    with pytest.raises(KeyError, match="'txt' is no kind"):
        schemas._kind("list of txt")


@pytest.mark.parametrize(("command", "problem"), [
    ("broker stop", 'broker stop: stopped: 1 is not of type "boolean"'),
    ("broker burn", "docs/reference/json has no schema of what broker burn prints"),
])
def test_what_a_command_prints_in_a_test_is_looked_at(command: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    group, name = command.split()
    with click.Context(click.Group(group), info_name=group) as outer, click.Context(click.Command(name), parent=outer, info_name=name):
        Output(as_json=True).document({"stopped": 1})
    found = documents.PROBLEMS.copy()
    documents.PROBLEMS.clear()   # they are no problem here
    assert found == [problem]
    assert json.loads(capsys.readouterr().out) == {"stopped": 1}


def test_a_name_that_is_half_a_character_does_not_stop_the_looking() -> None:
    assert problems_of("tokens revoke", {"id": "a\ud800", "name": "n"}) == []
