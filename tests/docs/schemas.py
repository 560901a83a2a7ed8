"""What the JSON documents of the commands consist of, and JSON Schemas made of it: the source of ``docs/reference/json``.

A part is written as lines: first what it is, then ``name: kind = meaning`` for each field. ``name?`` may be missing. A kind is
``text``, ``integer``, ``number``, ``boolean``, ``anything``, the name of another part, an enumeration or a model of the code, ``one of a,
b``; ``list of`` or ``map of`` (by name) one of these, or one of these ``or null``. ``& Other`` has all fields of another part as well.
Other fields are always allowed, because documents may grow.
"""

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

import click
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from tests.docs.generate import doc_of

from modelcast.consumer.deadletters.choosing import GROUPS
from modelcast.publisher.demo.outcomes import RolledBack, Staged, Waved
from modelcast.publisher.fleet import Step
from modelcast.publisher.publication import Publication
from modelcast.publisher.rollout.records import Phase
from modelcast.shared.cli.main import cli
from modelcast.shared.doctor.findings import Level
from modelcast.shared.localbroker.node import NodeStatus
from modelcast.shared.manifest import Artifact, Environment, FileEntry, Lineage, Manifest, Samples, Training
from modelcast.shared.order import Kind, Order
from modelcast.shared.permissions import Role
from modelcast.shared.report import Report, ReportKind, Verdict

DIALECT = "https://json-schema.org/draft/2020-12/schema"
GROWS = "Fields that are not listed here may come with any version: read past them."
ERROR = "error"
"""Stands for a command: the document on stderr of any that failed."""

ENUMS: dict[str, type[StrEnum]] = {each.__name__: each for each in (Kind, Level, Phase, ReportKind, Role, Step, Verdict)}
MODELS: dict[str, type] = {
    each.__name__: each for each in (
        Artifact, Environment, FileEntry, Lineage, Manifest, NodeStatus, Order, Publication, Report, RolledBack, Samples, Staged, Training, Waved,
    )
}
"""Values of the code that are printed field by field: their schemas come from their types, their meanings from their docstrings."""

_ROLLOUT = (("", "Rollout"),)
COMMANDS: dict[str, tuple[tuple[str, str], ...]] = {
    "bridge": (("a line for each order", "Carried"),),
    "broker logs": (("", "NodeLog"),),
    "broker start": (("", "NodeStarted"),),
    "broker status": (("", "NodeStatus"),),
    "broker stop": (("", "NodeStopped"),),
    "dead-letters explain": (("", "Letters"),),
    "dead-letters export": (("", "Export"),),
    "dead-letters list": (("", "LetterPage"), ("with `--by`", "LetterGroups")),
    "dead-letters purge": (("", "Purge"),),
    "dead-letters replay": (("", "Replay"),),
    "dead-letters show": (("", "FullLetter"),),
    "demo": (("at the end", "Story"),),
    "doctor": (("", "Examination"),),
    "fleet": (("with `--watch` a line every two seconds", "Fleet"),),
    "history": (("", "History"),),
    "keys generate": (("", "KeyPair"),),
    "keys show": (("", "Keys"),),
    "preflight": (("", "Forecast"),),
    "promote": (("", "Published"), ("with `--waves`", "Rollout"), ("with `--waves` and `--dry-run`", "Preview")),
    "prune": (("", "Pruning"),),
    "publish": (("", "Published"),),
    "releases": (("", "Releases"),),
    "retire": (("", "Retirement"),),
    "rollback": (("", "Published"),),
    "rollout abort": _ROLLOUT, "rollout pause": _ROLLOUT, "rollout resume": _ROLLOUT, "rollout status": _ROLLOUT,
    "tokens create": (("", "NewToken"),),
    "tokens list": (("", "list of Token"),),
    "tokens revoke": (("", "RevokedToken"),),
    "topology": (("", "Topology"), ("with `--permissions`", "Permissions"), ("with `--definitions`", "Definitions")),
    "why": (("", "Why"),),
    ERROR: (("on stderr when a command failed; the last line there", "Error"),),
}
"""The documents of each command: when it prints it, and what it is."""

_TEXTS = [
    """Error: Why a command failed.
    error: text = Kind of the error; see the exit statuses.
    message: text = What happened, a sentence.
    hint: text or null = What to do next.
    facts: map of anything = The values behind the message.
    exit_code: integer = The exit status of the command.""",
    # ----------------------------------------------------------------------- publish, promote, rollback, preflight
    """Published: What was ordered, and what came of it.
    publication: Publication = What was ordered.
    outcome?: Outcome = What the instances decided; only where that was waited for.""",
    """Outcome: What the instances decided.
    promoted: list of text = Instances that promoted it, or say that they serve it.
    rejected: list of Refusal = Instances that rejected it.
    superseded: list of text = Instances that went on to a newer order.
    silent: list of text = Known instances that have not decided.
    needed: integer = How many promotions were waited for.
    timed_out: boolean = Whether the time ran out first.
    fault: text or null = Why the road was away when the waiting ended, so that verdicts may be missing.
    exit_code: integer = The exit status of the command.""",
    """Refusal: An instance that refused a release, or would.
    instance: text = Its id.
    reason: text or null = Code of the reason.
    message: text or null = The reason in a sentence.
    facts: map of anything = Both sides of what did not match.""",
    """Forecast: Whether the instances would take a release.
    ok: boolean = Whether somebody answered, and all of them would take it.
    accepting: list of text = Instances that would take it.
    refusing: list of Refusal = Instances that would not.
    silent: list of text = Instances that reported lately and have not answered.""",
    # ----------------------------------------------------------------------- rollouts
    """Rollout: How a rollout stands.
    model: text = Name of the model.
    channel: text = Name of the channel.
    version: text = Version that is rolled out.
    release: text = Id of its release.
    rollout: integer = Number of the rollout.
    phase: Phase = How it stands.
    why: text = Why it was paused, halted or aborted; empty where nobody said.
    driver: text = Who carried it on last.
    begun_ms: integer = When it was begun, milliseconds since 1970 UTC.
    changed_ms: integer = When something happened last.
    left_by: integer or null = Sequence of the order that others gave the channel meanwhile.
    plan: RolloutPlan = What it is to do.
    waves: list of Wave = Its waves.
    promoted: list of text = Instances that serve it.
    failed: map of text = Instances that refused it, left it again or were late, and why.
    vetoed: map of text = Instances whose application reported it as bad, and why.
    undecided: list of text = Instances whose turn has come, and that said nothing.
    went_back_to: text or null = The version that this call ordered the channel to go back to.""",
    """RolloutPlan: What a rollout is to do.
    waves: list of text = How many instances each wave reaches, with those before: a number, or a share such as 10%.
    soak_seconds: number = How long each wave is watched once its verdicts are in.
    verdict_seconds: number = Longest wait for the verdicts of a wave.
    max_failures: text = How many of the reached instances may fail: a number or a share.
    max_vetoes: integer = How many applications may report it as bad.
    rolls_back: boolean = Whether the channel goes back when there are more.""",
    """Wave: One wave of a rollout.
    wave: text = How many instances it reaches, with those before.
    state: one of accepted, ordered, waits = How it stands.
    instances: list of text = The instances that it adds, as they are known now.
    order: integer or null = Sequence of its order.
    issued_ms: integer or null = When that was issued.""",
    """Preview: Who would be in which wave.
    model: text = Name of the model.
    channel: text = Name of the channel.
    waves: list of PreviewWave = The waves.""",
    """PreviewWave: One wave that may come.
    wave: text = How many instances it reaches, with those before.
    instances: list of text = The instances that it adds.""",
    # ----------------------------------------------------------------------- fleet, history, releases, why
    """Fleet: The instances of a channel.
    model: text = Name of the model.
    channel: text = Name of the channel.
    ordered: LastOrder = What was ordered last.
    rollout: FleetRollout or null = The rollout that is under way, paused or halted.
    current: integer = How many instances serve that.
    instances: integer = How many there are.
    versions: map of integer = How many of those that are heard serve which version; those without a model count as `nothing`.
    members: list of Member = The instances, by name.""",
    """LastOrder: The last order of a channel; null where nothing was ordered.
    version: text or null = Version.
    release: text or null = Id of the release.
    sequence: integer or null = Sequence of the order.
    issued_ms: integer or null = When it was issued, milliseconds since 1970 UTC.""",
    """Retirement: An instance that does not come back.
    model: text = Name of the model.
    channel: text = The channel that it followed.
    instance: text = Its id.""",
    """FleetRollout: A rollout that is not over.
    version: text = What is rolled out.
    phase: one of running, paused, halted = How it stands.
    accepted: integer = Waves that are over.
    waves: integer = Waves that there are.
    driver: text = Who carried it on last.
    changed_ms: integer = When something happened last, milliseconds since 1970 UTC.""",
    """Member: One instance.
    instance: text = Its id.
    step: Step = How it stands to the last order.
    version: text or null = What it serves.
    release: text or null = Id of that release.
    sequence: integer or null = The order that put it into service, where it said so.
    since_ms: integer or null = Since when it serves that, by its own clock.
    reported_ms: integer = When it reported last, by its own clock.
    starts: integer = How many starts of it were seen.
    verdict: LastVerdict or null = What it decided last.
    host: map of anything = What it said of its host: libraries, memory, longest stall, and more.""",
    """LastVerdict: What an instance decided last.
    verdict: Verdict = The verdict.
    version: text or null = On which version.
    sequence: integer or null = On which order.
    reason: text or null = Code of the reason of a rejection.
    message: text or null = The reason in a sentence.
    at_ms: integer = When, by its own clock.
    stages_ms: map of number or null = Duration of each stage in milliseconds.""",
    """History: The newest orders of a channel, oldest first.
    model: text = Name of the model.
    channel: text = Name of the channel.
    orders: list of OrderRecord = The orders.""",
    """OrderRecord: An order, and what came of it.
    sequence: integer = Its sequence.
    kind: Kind = Promotion or rollback.
    version: text or null = Version, where the register knows it.
    release: text = Id of the release.
    order: text or null = Identity of the order; null where it is not known to be sent.
    issued_ms: integer = When it was issued, milliseconds since 1970 UTC.
    key: text or null = Id of the key that signed it, where that was recorded.
    rollout: integer or null = Number of its rollout.
    wave: integer or null = Which wave of it, counted from 0.
    up_to: integer or null = It is for the instances up to this turn; null is for all.
    took_ms: map of number or null = How long its sender took until chunks (`published`) and order (`confirmed`) were confirmed.
    outcome: map of integer = How many instances decided how.
    withdrawn_ms: integer or null = When the channel was rolled back from it.
    withdrawn_reason: text or null = Why.
    slowest: SlowestStage or null = What took longest.""",
    """SlowestStage: What took longest of all stages of all instances.
    instance: text = At which instance.
    stage: text = Which stage.
    ms: number or null = How long, in milliseconds.""",
    """Releases: The releases of a model.
    model: text = Name of the model.
    releases: list of ListedRelease = The releases, in the order in which they were published.""",
    """ListedRelease: One release.
    version: text = Version.
    release: text = Its id.
    created: text = When it was built, RFC 3339 in UTC.
    format: text = Format of the artifact.
    bytes: integer = Size of the artifact.
    runs_in: list of text = Channels that were ordered to run it last.
    withdrawn_in: list of text = Channels that were rolled back from it.
    is_pruned: boolean = Whether its chunks were removed.
    metrics: map of number or null = Metrics of the training.
    training: map of anything = Parameters of the training.""",
    """Why: Why instances took a version or refused it.
    model: text = Name of the model.
    version: text = Version.
    decisions: list of Decision = The latest verdict of each instance, by channel and instance.""",
    """Decision: A verdict, and its order.
    & Report
    took_ms: map of number or null = How long the sender of the order took until chunks and order were confirmed; empty where not recorded.""",
    # ----------------------------------------------------------------------- keys, doctor, topology
    """KeyPair: A key that was made.
    private: text = Path of the private key.
    public: text = Path of the public key.
    key_id: text = Id of the key.""",
    """Keys: The keys in a file.
    path: text = The file.
    private: boolean = Whether it is a private key.
    keys: list of TrustedKey = The public halves.""",
    """TrustedKey: A key, and what it may sign.
    key_id: text = Its id.
    models: list of text = It may sign manifests of these models; `*` is any.
    channels: list of text = It may sign orders for these channels.
    public_pem: text = The public key, PEM.""",
    """Examination: What was found.
    ok: boolean = Whether nothing is worse than a warning.
    findings: list of Finding = What was looked at.""",
    """Finding: One thing that was looked at.
    level: Level = How bad it is.
    subject: text = What was looked at.
    text: text = What was found, a sentence.
    remedy: text or null = What to do.
    facts: map of anything = The values behind the sentence.""",
    """Topology: What a channel has on a broker.
    parts: list of TopologyPart = Exchanges and queues.
    bindings: list of TopologyBinding = What goes from exchanges to queues.""",
    """TopologyPart: An exchange or a queue.
    name: text = Its name.
    kind: text = What it is, in words.
    arguments: map of anything = Its arguments.""",
    """TopologyBinding: What a queue gets.
    queue: text = The queue.
    exchange: text = From this exchange.
    routing_key: text = With this routing key.""",
    """Permissions: What a user needs on a broker.
    user: text = The user.
    vhost: text = The virtual host.
    role: Role = What the user is to be.
    configure: text = Pattern of what it may make.
    write: text = Pattern of what it may write to.
    read: text = Pattern of what it may read from.
    command: text = The command that sets them.""",
    """Definitions: What `rabbitmqctl import_definitions` takes; its fields are RabbitMQ's.
    vhosts: list of map of anything = The virtual host.
    exchanges: list of map of anything = The exchanges.
    queues: list of map of anything = The queues.
    bindings: list of map of anything = The bindings.
    permissions: list of map of anything = The permissions of the user, if one was named.""",
    # ----------------------------------------------------------------------- tokens
    """NewToken: A token that was made.
    id: text = Its id.
    token: text = The token; it is shown once.
    scopes: list of text = What it allows.
    expires_ms: integer or null = When it expires, milliseconds since 1970 UTC; null is never.""",
    """Token: One token, without its secret.
    id: text = Its id.
    name: text = What it is for.
    scopes: list of text = What it allows.
    created_ms: integer = When it was made, milliseconds since 1970 UTC.
    expires_ms: integer or null = When it expires; null is never.
    has_expired: boolean = Whether it has.""",
    """RevokedToken: A token that was revoked.
    id: text = Its id.
    name: text = What it was for.""",
    # ----------------------------------------------------------------------- dead letters
    """LetterPage: Dead letters, oldest first.
    dead_letters: list of Letter = The dead letters.
    next: text or null = The id for `--after` when there are more.""",
    """Letters: Dead letters, explained.
    dead_letters: list of Letter = The dead letters.""",
    """Letter: A dead letter. What stands in the message itself is not verified.
    id: text = Short name for the command line.
    order_id: text = Identity of the order message.
    model: text or null = Model of the queue in which it died.
    version: text or null = Version, as the report or else the message says.
    channel: text or null = Channel of that queue.
    instance: text or null = Who refused it.
    died_ms: integer or null = When, milliseconds since 1970 UTC.
    cause: text = The road's word for why it is here.
    reason: text or null = Code of the reason; null where the report is not there.
    message: text or null = The reason in a sentence.
    facts: map of anything = Both sides of what did not match.
    happened: text = What happened.
    fault: text = Whose fault it is.
    remedy: text = What to do.
    signed_by: list of text = Ids of the keys that the message names.
    size_bytes: integer = Size of the message.""",
    """FullLetter: All that is known of a dead letter.
    & Letter
    order: Order or null = The order, if it can be read; not verified.
    manifest: Manifest or null = The manifest, if it can be read; not verified.
    report: Report or null = The report of the instance, if it is still there.""",
    f"""LetterGroups: Dead letters, counted.
    by: one of {', '.join(GROUPS)} = What those of a group have in common.
    groups: list of LetterGroup = The groups, the largest first.""",
    """LetterGroup: Dead letters that have something in common.
    name: text or null = What they have in common; null where the messages do not say.
    letters: integer = How many they are.
    models: list of text = Their models, each with its version.
    instances: list of text = Who refused.
    first_ms: integer or null = When the first of them died, milliseconds since 1970 UTC.
    last_ms: integer or null = When the last of them died.
    fault: text or null = Whose fault it is, for a reason.
    remedy: text or null = What to do, for a reason.""",
    """Export: A zip for a bug report.
    id: text = Id of the dead letter.
    path: text = The file.
    bytes: integer = Its size.
    sha256: text = Its SHA-256.
    files: list of text = What is in it.""",
    """LetterBrief: A dead letter, in brief.
    id: text = Short name for the command line.
    order_id: text = Identity of the order message.
    model: text or null = Model.
    version: text or null = Version.
    channel: text or null = Channel.
    instance: text or null = Who refused it.
    died_ms: integer or null = When, milliseconds since 1970 UTC.
    reason: text or null = Code of the reason.""",
    """Replay: Dead letters that were sent back.
    dry_run: boolean = Whether nothing was sent.
    replayed: list of LetterBrief = Those that were sent back, or would be.
    kept: list of KeptLetter = Those that could not be.""",
    """KeptLetter: A dead letter that stays.
    & LetterBrief
    why: text = Why it stays.""",
    """Purge: Dead letters that were removed.
    dry_run: boolean = Whether nothing was removed.
    purged: list of LetterBrief = Those that were removed, or would be.""",
    # ----------------------------------------------------------------------- broker, bridge, prune
    """NodeStarted: A private node that runs.
    & NodeStatus
    started_here: boolean = Whether this call started it.""",
    """NodeStopped: Whether a private node was stopped.
    stopped: boolean = Whether it ran before.""",
    """NodeLog: The end of a private node's log.
    log: text = The file.
    lines: list of text = The lines.""",
    """Carried: An order that a bridge carried.
    version: text = Version.
    release: text = Id of the release.
    sequence: integer = Sequence of the order.
    sent_bytes: integer = Bytes of the artifact that were sent.
    total_bytes: integer = Size of the artifact.
    was_there: boolean = Whether the other road had the order already.""",
    """Pruning: What was removed from a shared directory.
    dry_run: boolean = Whether nothing was removed.
    models: list of PrunedModel = The models.""",
    """PrunedModel: What was removed of a model.
    model: text = Name of the model.
    removed_chunks: integer = Chunks that went, or would.
    freed_bytes: integer = Bytes of their files.
    releases: list of Fate = Its releases, oldest first, without those that were pruned before.""",
    """Fate: What becomes of a release.
    version: text = Version.
    release: text = Its id.
    size: integer = Bytes of its artifact.
    kept_because: list of text = Why it is kept, in words; empty when it goes.""",
    # ----------------------------------------------------------------------- demo
    """Story: What happened in the demo.
    ok: boolean = Whether everything went as it should.
    problems: list of text = What did not.
    model: text = Name of the model.
    instances: list of StoryInstance = What was counted at each instance.
    promoted: list of StoryPromotion = Releases that instances promoted.
    rejected: list of StoryRejection = Releases that instances rejected.
    requests: integer = Requests to all instances.
    failed_requests: integer = Those that failed.
    answers_by_version: map of integer = Right answers by version.
    longest_request_ms: number = The longest request, in milliseconds.
    seconds_from_publish_to_last_promotion: number = Of the slowest release.
    restart: StoryReturn or null = How the killed instance came back.
    late: StoryReturn or null = How the late instance caught up.
    chapters: StoryChapters = What the chapters that may be left out left behind.
    dead_letters: list of StoryLetter = The dead letters.
    seconds: number = Length of the whole story.""",
    """StoryInstance: What was counted at one instance.
    instance: text = Its id.
    version: text or null = Version of the latest right answer.
    requests: integer = Requests that were sent.
    failed_requests: integer = Those that failed.
    answers_by_version: map of integer = Right answers by version.
    longest_request_ms: number = The longest request, in milliseconds.""",
    """StoryPromotion: A release that was promoted.
    version: text = Version.
    instances: list of text = By whom.
    seconds: number = From the call to the last verdict.""",
    """StoryRejection: A release that was rejected.
    version: text = Version.
    what: text = What it is, in words.
    reason: text = Code of the reason; several with `/` between.
    instances: list of StoryRefusal = By whom.
    served_on: map of text or null = The version that each instance answered with afterwards.""",
    """StoryRefusal: An instance that rejected a release.
    instance: text = Its id.
    reason: text = Code of the reason.
    message: text or null = The reason in a sentence.""",
    """StoryReturn: How an instance came back, or came late.
    instance: text = Its id.
    version: text or null = What it answered with.
    ms_from_start_to_first_answer: integer = Milliseconds.
    connections_before_first_answer: integer = How many connections it had had to the road by then.
    connected: boolean = Whether it was connected in the end.""",
    """StoryChapters: What each chapter that was told left behind.
    staging?: Staged = By way of staging.
    rollback?: RolledBack = Back again.
    waves?: Waved = In waves.""",
    """StoryLetter: A dead letter of the demo.
    id: text or null = Short name.
    version: text or null = Version.
    instance: text or null = Who refused it.
    reason: text or null = Code of the reason.
    message: text or null = The reason in a sentence.""",
]
PARTS: dict[str, tuple[str, list[str]]] = {
    name: (about, [line.strip() for line in lines]) for head, *lines in (text.splitlines() for text in _TEXTS)
    for name, _, about in (head.partition(": "),)
}

# --------------------------------------------------------------------------- schemas


def commands_with_json(path: tuple[str, ...] = (), command: click.Command = cli) -> Iterator[str]:
    """Yield the names of all commands that have ``--json``, without ``modelcast``."""
    if any("--json" in option.opts for option in command.params):
        yield " ".join(path)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands_with_json((*path, name), child)


def schema_of(command: str) -> dict[str, Any]:
    """Return the schema of a command's document, with all that it needs."""
    shapes = [_kind(kind) for _, kind in COMMANDS[command]]
    needed = dict(sorted(_needed(shapes).items()))
    title = "An error" if command == ERROR else f"modelcast {command} --json"
    return {"$schema": DIALECT, "title": title, "$comment": GROWS, **(shapes[0] if len(shapes) == 1 else {"anyOf": shapes}), "$defs": needed}


def part(name: str) -> dict[str, Any]:
    """Return the schema of one part; it refers to others."""
    if name in ENUMS:
        return {"description": doc_of(ENUMS[name]).text, "type": "string", "enum": [member.value for member in ENUMS[name]]}
    if name in MODELS:
        return _of_model(MODELS[name])
    about, lines = PARTS[name]
    required, fields, bases = list[str](), dict[str, Any](), list[dict[str, Any]]()
    for line in lines:
        if line.startswith("& "):
            bases.append(_kind(line[2:]))
            continue
        head, _, meaning = line.partition(" = ")
        field, _, kind = head.partition(": ")
        fields[field.rstrip("?")] = {**_kind(kind), "description": meaning}
        required += [] if field.endswith("?") else [field]
    return {"description": about, "type": "object", **({"allOf": bases} if bases else {}), "properties": fields, "required": required}


_PLAIN: dict[str, dict[str, Any]] = {
    "text": {"type": "string"}, "integer": {"type": "integer"}, "number": {"type": "number"}, "boolean": {"type": "boolean"}, "anything": {},
}


def _kind(text: str) -> dict[str, Any]:
    """Return the schema of a kind as it is written; what follows ``list of`` and ``map of`` belongs to the elements, ``or null`` too."""
    if text.startswith("list of "):
        return {"type": "array", "items": _kind(text[8:])}
    if text.startswith("map of "):
        return {"type": "object", "additionalProperties": _kind(text[7:]) or True}
    if text.endswith(" or null"):
        inner = _kind(text.removesuffix(" or null"))
        return {"type": [inner["type"], "null"]} if set(inner) == {"type"} else {"anyOf": [inner, {"type": "null"}]}
    if text.startswith("one of "):
        return {"type": "string", "enum": text[7:].split(", ")}
    if text in _PLAIN:
        return dict(_PLAIN[text])
    if text not in PARTS and text not in ENUMS and text not in MODELS:
        raise KeyError(f"{text!r} is no kind")
    return {"$ref": f"#/$defs/{text}"}


def _refers(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].rpartition("/")[2]
        for inner in schema.values():
            yield from _refers(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _refers(inner)


def _needed(shapes: Any) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    waiting = list(_refers(shapes))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = part(name)
            waiting += _refers(found[name])
    return found


class _AsPrinted(GenerateJsonSchema):
    """As the commands print values: bytes in hexadecimal, and null for a number that JSON does not know."""

    def bytes_schema(self, schema: core_schema.BytesSchema) -> JsonSchemaValue:
        least, most = schema.get("min_length", 0), schema.get("max_length")
        often = "*" if (least, most) == (0, None) else f"{{{least}}}" if least == most else f"{{{least},{most or ''}}}"
        return {"type": "string", "pattern": f"^([0-9a-f]{{2}}){often}$"}

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        is_finite = schema.get("allow_inf_nan") is False
        return super().float_schema(schema) | {"type": "number" if is_finite else ["number", "null"]}


def _of_model(cls: type) -> dict[str, Any]:
    generator = _AsPrinted if issubclass(cls, BaseModel) else GenerateJsonSchema
    made = TypeAdapter(cls).json_schema(mode="serialization", schema_generator=generator)
    told = doc_of(cls)
    meanings = told.items("Attributes")
    fields = {name: _tidy(field) for name, field in made["properties"].items()}
    for name, field in fields.items():
        if name in meanings:
            field["description"] = meanings[name].replace("None", "null")
    return {"description": told.text, "type": "object", "properties": fields, "required": list(fields)}


def _tidy(schema: Any) -> Any:
    """Return a schema without what says nothing to a reader of documents."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(value) for key, value in schema.items() if key not in {"title", "default"} and (key, value) != ("format", "path")}
    kinds = [each.get("type") for each in tidy.get("anyOf", [])]
    if kinds and all(isinstance(kind, str) for kind in kinds) and all(set(each) == {"type"} for each in tidy["anyOf"]):
        tidy = {**{key: value for key, value in tidy.items() if key != "anyOf"}, "type": kinds}
    return tidy


def file_name(command: str) -> str:
    return f"{command.replace(' ', '-')}.json"


def files() -> dict[str, str]:
    """The files of ``docs/reference/json`` by name."""
    return {file_name(command): json.dumps(schema_of(command), indent=2, ensure_ascii=False) + "\n" for command in COMMANDS}


# --------------------------------------------------------------------------- for people


def command_rows() -> Iterator[tuple[str, str, str, str]]:
    """Yield command, when, document and schema, as Markdown."""
    for command, shapes in COMMANDS.items():
        name = "any command" if command == ERROR else f"`modelcast {command}`"
        for when, kind in shapes:
            yield name, when, in_words(_kind(kind)), f"[{file_name(command)}](json/{file_name(command)})"


def sections() -> Iterator[tuple[str, str, list[tuple[str, str, str]], list[str]]]:
    """Yield for each part: its name, what it is, its fields (or none), and the parts whose fields it has as well."""
    named = [name for shapes in COMMANDS.values() for _, kind in shapes for name in _refers(_kind(kind))]
    for name in dict.fromkeys([*named, *sorted(_needed([_kind(kind) for shapes in COMMANDS.values() for _, kind in shapes]))]):
        found = part(name)
        required = found.get("required", ())
        rows = [
            (f"`{field}`", in_words(kind) + ("" if field in required else ", may be missing"), kind.get("description", ""))
            for field, kind in found.get("properties", {}).items()
        ]
        about = found["description"] + (f" One of {in_words(found)}." if "enum" in found else "")
        yield name, about, rows, [in_words(base) for base in found.get("allOf", ())]


_WORDS = {"string": "text", "null": "null", "integer": "integer", "number": "number", "boolean": "boolean"}


def in_words(schema: Mapping[str, Any]) -> str:
    """Return a type for people, as Markdown."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(in_words(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(_WORDS[each] for each in kind)
    if kind == "array":
        return f"list of {in_words(schema['items'])}"
    if kind == "object":
        inner = schema.get("additionalProperties", True)
        return "map of text to " + (in_words(inner) if isinstance(inner, dict) else "anything")
    if kind is None:
        return "anything"
    return _WORDS[kind] + (", hexadecimal" if "[0-9a-f]{2}" in schema.get("pattern", "") else "")
