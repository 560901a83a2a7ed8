"""The publisher that an update service uses: objects or paths in, a publication out.

Decides defaults and puts the parts together. Opens a connection for each call and keeps none, so that hours of training may
lie between two calls. Imports the other modules of this room.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modelcast.publisher.intent import Intent, Keys
from modelcast.publisher.listening import LastingReports, minutes_to_read
from modelcast.publisher.preflight import Forecast, Question, ask
from modelcast.publisher.preparation import Wish, prepare
from modelcast.publisher.progress import Watcher, unwatched
from modelcast.publisher.publication import Publication, carry_out
from modelcast.publisher.sampling import SampleSet
from modelcast.publisher.sessions import Sessions
from modelcast.publisher.waiting import Outcome, Tally, await_verdicts, check_wish
from modelcast.shared.errors import MisuseError
from modelcast.shared.keyfiles import load_signing_key
from modelcast.shared.limits import DEFAULT_LIMITS, KIB
from modelcast.shared.manifest import DEFAULT_CHUNK_BYTES, Lineage
from modelcast.shared.order import DRAFT_TYPE
from modelcast.shared.report import Report
from modelcast.shared.road import Road
from modelcast.shared.roads import as_road
from modelcast.shared.signing import SigningKey
from modelcast.shared.topology import CHUNKS_RETENTION_BYTES

MAX_EXPIRES_SECONDS = 100 * 366 * 24 * 3600
"""A hundred years: longer is a mistake, and infinity no number of milliseconds."""


class Publisher:
    """Publishes releases of models.

    Args:
        url: Where to: ``amqp://user:password@host:5672/vhost``, ``file:///srv/models``, or a road of your own.
        signing_key: Private key, or the path of one, that signs manifests (and orders, unless ``order_key`` is given).
        order_key: Private key, or the path of one, that signs orders.
        chunk_bytes: Largest chunk, 64 KiB to 8 MiB.
        retention_bytes: How much the chunk stream of a model keeps, when this call creates it.
        busy_seconds: How long to wait for whoever else publishes or orders the same model.
        pack: Whether chunks are sent packed (zstd) where a look at the data shows that it halves them. It costs CPU on both
            sides, and time where the wire is faster than packing (some 2.4 Gbit/s; ``docs/adr/0019-zstd.md``).
        on_busy: Is told in a sentence when somebody else is waited for.

    Raises:
        MisuseError: An argument cannot work.
        InvalidKey, MissingPath: The key cannot be read.
    """

    def __init__(
        self, url: str | Road, *, signing_key: str | Path | SigningKey, order_key: str | Path | SigningKey | None = None,
        chunk_bytes: int = DEFAULT_CHUNK_BYTES, retention_bytes: int = CHUNKS_RETENTION_BYTES,
        busy_seconds: float = 60.0, pack: bool = True, on_busy: Callable[[str], None] | None = None,
    ) -> None:
        if not 64 * KIB <= chunk_bytes <= DEFAULT_LIMITS.chunk_bytes:
            raise MisuseError(f"Chunks of {chunk_bytes} bytes are not possible.", hint="Choose 64 KiB to 8 MiB.")
        manifests = signing_key if isinstance(signing_key, SigningKey) else load_signing_key(signing_key)
        orders = order_key if isinstance(order_key, SigningKey) else load_signing_key(order_key) if order_key else manifests
        self._keys = Keys(manifests, orders)
        self._road: Road = as_road(url, retention_bytes=retention_bytes)
        self._sessions = Sessions(self._road, busy_seconds, on_busy)
        self._chunk_bytes, self._pack = chunk_bytes, pack

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave; nothing is held between calls."""

    def publish(
        self, model_object: object, *, model: str, version: str, channel: str = "production", format: str | None = None,  # noqa: A002 - the field's word
        loader: str | None = None, training: Mapping[str, Any] | None = None, metrics: Mapping[str, float] | None = None,
        lineage: Mapping[str, Any] | Lineage | None = None, dependencies: Mapping[str, str] | None = None,
        input_schema: Mapping[str, Any] | None = None, output_schema: Mapping[str, Any] | None = None,
        samples: SampleSet | tuple[object, object] | None = None, expires_seconds: float | None = None, resend: bool = False,
        watch: Watcher = unwatched,
    ) -> Publication:
        """Publish a release and order a channel to run it; interrupted and called again, it sends only what is missing.

        Args:
            model_object: The model, or a ``pathlib.Path`` of a file or folder.
            model: Name of the model.
            version: SemVer version; higher than all before, or instances reject it.
            channel: Which channel shall run it.
            format: For a path: ``joblib``, ``safetensors``, ``onnx``, ``skops``, ``cloudpickle`` or ``files``.
            loader: Name of the loader, when it is not the format's own.
            training: Training parameters.
            metrics: Metrics by name.
            lineage: ``commit``, ``dirty``, ``dataset``, ``notes``; what a map leaves out of the git commit of the current folder is
                filled in, and a ``Lineage`` is taken as it is.
            dependencies: Distribution versions; found by looking at the model when left out.
            input_schema: Shape and types of the input; taken from the samples when left out.
            output_schema: Shape and types of the answers; taken from the samples when left out.
            samples: ``(inputs, answers)`` or a ``SampleSet``; instances must reproduce the answers before they promote.
            expires_seconds: Instances that see the order later reject it.
            resend: Send chunks and order again, for instances that missed some.
            watch: Is called with the progress.

        Returns:
            What was done; ``was_current`` when the channel runs this version with these bytes already.

        Raises:
            MisuseError: One of its kinds; nothing was ordered.
            HostFault: The road broke; call again.
        """
        if expires_seconds is not None and not 0 < expires_seconds <= MAX_EXPIRES_SECONDS:
            raise MisuseError(f"An order cannot expire after {expires_seconds} seconds.", hint="Give more than 0, up to 100 years.")
        wish = Wish(
            model, version, channel, format, loader, training, metrics, lineage, dependencies, input_schema, output_schema, samples
        )
        began = time.monotonic()
        draft = replace(prepare(model_object, wish, chunk_bytes=self._chunk_bytes), pack=self._pack)
        now_ms = time.time_ns() // 1_000_000
        expires_ms = None if expires_seconds is None else now_ms + round(expires_seconds * 1000)
        return self._carry_out(Intent(draft, channel, self._keys, now_ms, expires_ms, resend, began), watch)

    def preflight(
        self, model_object: object, *, model: str, version: str, channel: str = "production", format: str | None = None,  # noqa: A002 - the field's word
        loader: str | None = None, dependencies: Mapping[str, str] | None = None, timeout_seconds: float = 10.0,
    ) -> Forecast:
        """Ask the instances of a channel whether they would take a release; not a byte of it is read or sent.

        They answer by the rules that an order would meet: keys, version, format, environment and libraries, size, memory and disk.
        What only its bytes can show (that it loads, and answers as it should) is not asked.

        Args:
            model_object: The model, or a ``pathlib.Path`` of a file or folder.
            model: Name of the model.
            version: The version that it would have.
            channel: Which channel would run it.
            format: For a path, as for ``publish``.
            loader: Name of the loader, when it is not the format's own.
            dependencies: Distribution versions; found by looking at the model when left out.
            timeout_seconds: Longest wait for the answers.

        Returns:
            Who would take it, who would not and why, and who is silent.

        Raises:
            MisuseError: One of its kinds; nothing was asked.
            HostFault: The road broke.
        """
        wish = Wish(model, version, channel, format, loader, dependencies=dependencies, lineage={})
        manifest = prepare(model_object, wish, chunk_bytes=self._chunk_bytes).blank().to_bytes()
        question = Question(model, channel, self._keys.manifests.sign(DRAFT_TYPE, manifest))
        return ask(
            self._road, lambda: self._sessions.open(model, channel, sends=False), lambda _catalog: question,
            self._keys.orders, timeout_seconds=timeout_seconds,
        )

    def _carry_out(self, intent: Intent, watch: Watcher) -> Publication:
        session = self._sessions.open(intent.draft.facts.model, intent.channel, sends=True)
        try:
            publication = carry_out(session, intent, watch, self._sessions.rejoin)
        finally:
            session.close()
        import structlog  # noqa: PLC0415 - 70 ms; whoever only imports the publisher need not wait for them

        structlog.get_logger("modelcast.publisher").info(
            "published", model=publication.model, version=publication.version, channel=publication.channel,
            release=publication.release[:12], sequence=publication.sequence, sent_bytes=publication.sent_bytes,
            reused_bytes=publication.reused_bytes, wire_bytes=publication.wire_bytes, was_current=publication.was_current,
        )
        return publication

    def wait(
        self, publication: Publication, *, instances: int | None = None, share: float | None = None, timeout_seconds: float = 600.0,
        on_verdict: Callable[[Report], None] = lambda _report: None,
    ) -> Outcome:
        """Wait until instances have decided on a publication; a connection that is lost meanwhile is made anew.

        Args:
            publication: What ``publish`` returned.
            instances: Wait for so many instances, or
            share: for this share of those that reported within the five minutes before it was ordered, or since.
            timeout_seconds: Longest wait.
            on_verdict: Is called with each verdict as it comes.

        Returns:
            Who promoted, who rejected and why, who is silent, whether the time ran out, and whether the road was away at the end.

        Raises:
            MisuseError: Not exactly one of ``instances`` and ``share`` is given, or a number is out of range.
            HostFault: The road does not let us read reports. One that is away is waited for.
        """
        return wait_for_verdicts(
            self._road, publication, instances=instances, share=share, timeout_seconds=timeout_seconds, on_verdict=on_verdict
        )


def wait_for_verdicts(
    road: Road, publication: Publication, *, instances: int | None, share: float | None, timeout_seconds: float,
    on_verdict: Callable[[Report], None],
) -> Outcome:
    """Wait until instances have decided on an order; see ``Publisher.wait``."""
    check_wish(instances, share, timeout_seconds)
    minutes = minutes_to_read(publication.issued_ms, time.time_ns() // 1_000_000)
    source = LastingReports(lambda since: road.reports(since_minutes=since), minutes, clock=time.monotonic, rest=time.sleep)
    try:
        tally = Tally(publication, instances, share)
        outcome = await_verdicts(source, tally, timeout_seconds=timeout_seconds, clock=time.monotonic, on_verdict=on_verdict)
        return replace(outcome, fault=source.fault)
    finally:
        source.close()
