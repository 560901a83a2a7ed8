"""What can be said of a broker: which one, how it is reached, what this user may do there, its limits and its clock.

Decides what counts as tested, as missing and as too small. Imports the probes, the permissions and the link.
"""

import math
import re
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from modelcast.shared import topology as names
from modelcast.shared.amqp_errors import DOWN_HINT
from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.chunk_message import PROBE
from modelcast.shared.doctor import amqp_probes as probes
from modelcast.shared.doctor.findings import MOST_SKEW_SECONDS, Case, Finding, carried_out, finding_of, fine, problem, warning
from modelcast.shared.errors import BrokerUnreachable, HostFault, ModelcastError, ProtocolViolation
from modelcast.shared.limits import DEFAULT_LIMITS, MIB
from modelcast.shared.link import FullLink
from modelcast.shared.permissions import Role, needs, patterns
from modelcast.shared.pika_link import PikaBroker, PikaLink

OLDEST, TESTED, NEXT_MAJOR = (3, 10), "3.10 and 4.0", 5
SLOW_CONNECT_SECONDS = 2.0
BACK_SECONDS, LOOK_SECONDS = 10.0, 0.25
"""How long a broker that was just started may take to bring its streams back, and how often is looked."""
STREAM_CONNECT_SECONDS = 5.0
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


def check_broker(case: Case) -> Iterator[Finding]:
    """Look at the broker that the case names."""
    broker = PikaBroker(case.url)
    began = time.monotonic()
    try:
        link = broker.connect(name="modelcast doctor")
    except HostFault as fault:
        yield finding_of("broker", fault, "Is the address right, and the port open from here?")
        return
    took = time.monotonic() - began
    try:
        yield _reached(broker.url, took)
        yield from carried_out("version", lambda _: _version(link), case)
        yield from carried_out("stream protocol", lambda _: _stream_port(broker.url), case)
        yield from carried_out("queues", lambda _: queues_of_broker(link, case), case)
        yield from carried_out("permissions", lambda _: _permissions(link, broker.url, case), case)
        if case.role is Role.PUBLISHER:
            yield from carried_out("message size", lambda _: _message_size(link), case)
        yield from carried_out("clock", lambda _: clock_of_broker(link), case)
    finally:
        link.close()


def _reached(url: BrokerUrl, took: float) -> Finding:
    text = f"{url} answers; connecting took {1000 * took:.0f} ms."
    if took > SLOW_CONNECT_SECONDS:
        return warning("broker", text, "Look at the way there (name server, firewall) and at the broker's load.", connect_seconds=took)
    if not url.is_tls and url.host not in _HERE:
        return warning(
            "broker", f"{text} The password and the models travel without TLS.", "Use amqps:// if the network there is not trusted.",
            connect_seconds=took,
        )
    return fine("broker", text, connect_seconds=took)


def _version(link: PikaLink) -> Iterator[Finding]:
    told = probes.server_properties(link)
    product, version = str(told.get("product", "?"))[:40], str(told.get("version", "?"))[:40]
    yield judge_version(product, version)


def judge_version(product: str, version: str) -> Finding:
    """Say whether a broker of this version is one that modelcast works with."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    text, facts = f"It is {product} {version}.", {"product": product, "version": version}
    if product != "RabbitMQ" or numbers is None:
        return warning("version", f"{text} modelcast is tested with RabbitMQ {TESTED}.", "Use RabbitMQ, or try it out first.", **facts)
    found = int(numbers[1]), int(numbers[2])
    if found < OLDEST:
        return problem("version", f"{text} Its streams lack what modelcast uses.", "Upgrade it to 3.10 or newer.", **facts)
    if found[0] >= NEXT_MAJOR:
        return warning("version", f"{text} modelcast is tested with {TESTED}.", "Use a newer modelcast, or try it out first.", **facts)
    return fine("version", f"{text} modelcast is tested with {TESTED}.", **facts)


def _stream_port(url: BrokerUrl) -> Iterator[Finding]:
    from modelcast.shared.stream_connection import StreamConnection  # noqa: PLC0415 - loads TLS
    from modelcast.shared.stream_socket import Address  # noqa: PLC0415

    cost = "Chunks are read by AMQP, at more than twice the CPU of the broker and the reader."
    if url.chunks == "amqp":
        yield fine("stream protocol", f"The address asks for AMQP. {cost}")
        return
    if url.stream_port is None:
        yield warning(
            "stream protocol", f"Nobody says which port it has. {cost}",
            "Run on the broker: rabbitmq-plugins enable rabbitmq_stream, and add ?stream_port=5552 to the address.",
        )
        return
    try:
        StreamConnection(
            Address(url.host, url.stream_port), url, "modelcast doctor", connect_seconds=STREAM_CONNECT_SECONDS
        ).close()
    except HostFault as fault:
        grade = problem if url.chunks == "stream" else warning
        speaks = "speaks another protocol" if isinstance(fault, ProtocolViolation) else "does not let us in"
        yield grade(
            "stream protocol", f"Port {url.stream_port} {speaks}: {fault} "
            + ("The address allows nothing else, so no chunk can be read." if url.chunks == "stream" else cost),
            f"Run on the broker: rabbitmq-plugins enable rabbitmq_stream, and open port {url.stream_port} to the instances.",
            port=url.stream_port,
        )
        return
    yield fine("stream protocol", f"Port {url.stream_port} answers: chunks are read by the stream protocol.", port=url.stream_port)


def queues_of_broker(
    link: probes.Asking, case: Case, *, clock: Callable[[], float] = time.monotonic, rest: Callable[[float], None] = time.sleep
) -> Iterator[Finding]:
    """Say which queues are there and cannot be had; a broker that was just started is given some seconds for them."""
    of_model = () if case.model is None else (names.releases_name(case.model), names.chunks_name(case.model))
    deadline, down = clock() + BACK_SECONDS, [names.REPORTS, *of_model]
    while True:
        down = [name for name in down if probes.look_at(link, name).is_down]
        if not down or clock() >= deadline:
            break
        rest(LOOK_SECONDS)
    if down:
        yield problem("queues", f"The broker has not got everything back yet: {', '.join(down)}.", DOWN_HINT, down=down)


def _permissions(link: PikaLink, url: BrokerUrl, case: Case) -> Iterator[Finding]:
    if case.model is None or case.role is None:
        return
    needed = needs(case.role, case.model, case.channel, case.instance)
    asked, chunks, missing = 0, names.chunks_name(case.model), dict[str, list[str]]()
    command = patterns(case.role, [(case.model, case.channel)], case.instance).command(url.user, url.vhost)
    for permission, listed in needed.items():
        for name in (one.replace("*", f"doctor-{secrets.token_hex(4)}") for one in listed):
            reply = probes.QUESTIONS[permission](link, name)
            asked += 1
            if reply.refuses(name):
                missing.setdefault(permission, []).append(name)
            elif (permission, name) == ("configure", chunks):
                case.known["retention_bytes"] = probes.retention_in(reply)
    if missing:
        lacks = "; ".join(f"{permission} for {', '.join(refused)}" for permission, refused in missing.items())
        remedy = f"Run, which replaces what this user has in {url.vhost}: {command}"
        yield problem("permissions", f"User {url.user} lacks permissions: {lacks}.", remedy, missing=missing, command=command)
    else:
        yield fine(
            "permissions", f"User {url.user} may do all that a{'n' if case.role is not Role.PUBLISHER else ''} {case.role} of "
            f"{case.model}/{case.channel} does ({asked} questions).", asked=asked, least=command,
        )
    case.known["register"] = not missing and case.role is not Role.INSTANCE and probes.has_queue(link, names.releases_name(case.model))


def _message_size(link: PikaLink) -> Iterator[Finding]:
    largest = max(DEFAULT_LIMITS.chunk_bytes, DEFAULT_LIMITS.order_bytes) + names.MESSAGE_OVERHEAD_BYTES
    limit = probes.size_limit(link, largest)
    if limit is None:
        yield fine("message size", f"The broker takes the largest message that modelcast sends ({largest // MIB} MiB).", sent=largest)
        return
    yield problem(
        "message size", f"The broker takes messages of {limit} bytes at most; a chunk or an order of modelcast may have {largest}.",
        f"Set max_message_size = {2 * largest} in rabbitmq.conf, or publish with a chunk size below {limit} bytes.", limit=limit,
    )


def clock_of_broker(link: FullLink, now: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Compare the broker's clock with this host's, to some seconds.

    A stream can be read from a time on, by the broker's clock: a marker that was written just now is found from a little before
    now on, and not from a little after. The markers are those that every reader of the reports leaves.
    """
    try:
        link.depth(names.REPORTS)
    except BrokerUnreachable:   # it cannot be had now, which was said
        return
    except ModelcastError:
        yield fine("clock", "Nothing was reported here yet, so that the broker's clock cannot be told.")
        return
    outbox, marker = link.outbox(window=1), secrets.token_hex(8)

    def mark(nonce: str) -> None:
        """Write a marker to the reports."""
        outbox.post(names.REPORTS, b"", headers={names.HEADER_KIND: PROBE, names.HEADER_RELEASE: nonce})
        outbox.flush()

    def is_found_from(seconds: int) -> bool:
        """Whether the marker is among what was written from a time on."""
        inbox, end = link.inbox(names.REPORTS, prefetch=64, offset=datetime.fromtimestamp(seconds, UTC)), secrets.token_hex(8)
        try:
            mark(end)
            while (delivery := inbox.receive(10.0)) is not None:
                inbox.accept(delivery)
                nonce = delivery.headers.get(names.HEADER_RELEASE)
                if nonce in {marker, end}:
                    return nonce == marker
            return False
        finally:
            inbox.close()

    before = math.floor(now() - MOST_SKEW_SECONDS)
    mark(marker)
    after = math.ceil(now() + MOST_SKEW_SECONDS)
    if not is_found_from(before):
        yield _skewed("behind")
    elif is_found_from(after):
        yield _skewed("ahead of")
    else:
        yield fine("clock", f"The broker's clock and this host's differ by less than {MOST_SKEW_SECONDS + 2:.0f} s.")


def _skewed(how: str) -> Finding:
    return warning(
        "clock", f"The broker's clock is more than {MOST_SKEW_SECONDS:.0f} s {how} this host's: an order that expires may be judged "
        "wrongly, and what was reported within the last minutes is counted wrongly.",
        "Let NTP set both clocks: timedatectl set-ntp true",
    )
