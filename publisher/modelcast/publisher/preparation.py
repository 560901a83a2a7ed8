"""From a caller's wish to the draft of a manifest with its files, all before a connection is opened.

Decides what is checked first and what is filled in: names, formats, the samples' method, the environment, the lineage.
Imports the builders of this room; knows no road.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from modelcast.publisher.build import Draft, Facts, draft
from modelcast.publisher.environment import environment, git_lineage
from modelcast.publisher.pickling import pickle_object
from modelcast.publisher.sampling import SampleSet, as_sample_set, find_method
from modelcast.publisher.sources import SourceFile, files_of
from modelcast.shared.errors import MisuseError
from modelcast.shared.manifest import Lineage
from modelcast.shared.names import BUILT_IN_FORMATS, Version, check_name

OBJECT_FORMAT = "cloudpickle"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller of ``Publisher.publish`` asked for; the fields are its arguments."""

    model: str
    version: str
    channel: str
    format: str | None = None
    loader: str | None = None
    training: Mapping[str, Any] | None = None
    metrics: Mapping[str, float] | None = None
    lineage: Mapping[str, Any] | Lineage | None = None
    dependencies: Mapping[str, str] | None = None
    input_schema: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None
    samples: SampleSet | tuple[object, object] | None = None


@dataclass(frozen=True, slots=True)
class _Contents:
    files: list[SourceFile]
    format: str
    modules: set[str] | None = None


def prepare(model_object: object, wish: Wish, *, chunk_bytes: int) -> Draft:
    """Check a wish and build what it asks for.

    Returns:
        The manifest but for its digests, and its files, in the manifest's order.

    Raises:
        MisuseError: Any of its kinds; nothing was read or sent.
    """
    check_name("model", wish.model)
    check_name("channel", wish.channel)
    Version(wish.version)
    samples = as_sample_set(wish.samples)
    contents = _contents(model_object, wish.format, wish.loader)
    if samples is not None and not isinstance(model_object, Path):
        samples = replace(samples, method=find_method(model_object, samples))
    try:
        built_in, lineage = environment(contents.modules, wish.dependencies), _lineage(wish.lineage)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise MisuseError(f"The {error.title.lower()} cannot be described: {first['msg']} (at {place}).") from error
    facts = Facts(
        wish.model, wish.version, built_in, wish.training or {}, wish.metrics or {}, lineage, wish.input_schema, wish.output_schema,
        samples,
    )
    return draft(
        contents.files, facts, artifact_format=contents.format, loader=wish.loader or contents.format, chunk_bytes=chunk_bytes
    )


def _contents(model_object: object, format_name: str | None, loader: str | None) -> _Contents:
    if isinstance(model_object, Path):
        if format_name is None:
            raise MisuseError("A path needs a format.", hint="format='joblib' (or safetensors, onnx, skops, files).")
        if format_name not in BUILT_IN_FORMATS and loader is None:
            raise MisuseError(
                f"{format_name!r} is no format that instances know.",
                hint=f"Use one of {', '.join(BUILT_IN_FORMATS)}; for a format of your own name its loader as well: loader='mine'.",
            )
        return _Contents(files_of(model_object), format_name)
    if isinstance(model_object, str | bytes | bytearray):
        raise MisuseError(
            f"A {type(model_object).__name__} is no model.",
            hint="For a file: pathlib.Path('model.joblib'). A text or bytes that is the model: put it into a list.",
        )
    if format_name not in {None, OBJECT_FORMAT}:
        raise MisuseError(f"An object is published as {OBJECT_FORMAT}, not {format_name}.", hint="Save it and publish the path.")
    files, modules = pickle_object(model_object)
    return _Contents(files, OBJECT_FORMAT, modules)


def _lineage(given: Mapping[str, Any] | Lineage | None) -> Lineage:
    if isinstance(given, Lineage):
        return given
    given = dict(given or {})
    found = {} if "commit" in given else git_lineage(Path.cwd()).model_dump()   # another commit's cleanliness is not known
    return Lineage.model_validate(found | given)
