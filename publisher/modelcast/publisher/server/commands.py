"""The commands ``modelcast serve`` and ``modelcast tokens``. Importing it loads click only."""

from typing import TYPE_CHECKING

import click

from modelcast.shared.cli.connection import json_option
from modelcast.shared.cli.output import Output
from modelcast.shared.errors import MisuseError

if TYPE_CHECKING:
    from modelcast.publisher.server.tokens import TokenBook

EXTRA = "modelcast[server]"


@click.command()
@click.argument("url")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is every one.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on; 0 is any free one.")
@click.option("--tls-cert", type=click.Path(dir_okay=False), help="Certificate chain, PEM: serve https.")
@click.option("--tls-key", type=click.Path(dir_okay=False), help="Its private key, PEM; left out: it is in the same file.")
@click.option("--insecure-no-tokens", is_flag=True, help="Let anybody in; on loopback only, to try things out.")
@click.option("--rate", default=2000.0, show_default=True, type=click.FloatRange(1), help="Requests of one token per second.")
@click.option("--connections", default=4096, show_default=True, type=click.IntRange(1), help="Connections at once.")
@click.option("--log-requests", is_flag=True, help="Say each request on stderr.")
def serve(
    *, url: str, host: str, port: int, tls_cert: str | None, tls_key: str | None, insecure_no_tokens: bool, rate: float,
    connections: int, log_requests: bool,
) -> None:
    """Serve a shared directory by HTTP: publishers and instances use http://host:port as they would file://.

    \b
    Example:
      modelcast tokens create --depot file:///srv/models --name web --scope fetch:fraud --scope report:fraud
      modelcast serve file:///srv/models --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.shared.file_url import FileUrl  # noqa: PLC0415 - --help need not load the library

    address = FileUrl.parse(url)
    try:
        from modelcast.publisher.server.serving import Listening, keep_memory, make_server, run  # noqa: PLC0415 - the extra may be missing
        from modelcast.publisher.server.settings import ServerLimits  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MisuseError(f"The server needs {error.name}.", hint=f"Install the extra: pip install '{EXTRA}'") from error
    _log_to_stderr(log_requests=log_requests)
    limits = ServerLimits(requests_per_second=rate, burst=max(1, round(2 * rate)), connections=connections)
    listening = Listening(host, port, tls_cert, tls_key)
    server, bound = make_server(address, listening, limits, needs_tokens=not insecure_no_tokens, logs_requests=log_requests)
    scheme = "https" if tls_cert else "http"
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"{scheme}://{shown}:{bound.getsockname()[1]}")
    keep_memory()
    run(server, bound)


def _log_to_stderr(*, log_requests: bool) -> None:
    import logging  # noqa: PLC0415 - see above

    from modelcast.shared.cli.connection import quiet_logs  # noqa: PLC0415

    quiet_logs()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    if log_requests:
        logging.getLogger("uvicorn.access").setLevel(logging.INFO)


# --------------------------------------------------------------------------- tokens


@click.group()
def tokens() -> None:
    """Bearer tokens for ``modelcast serve``: who may publish, promote, fetch, report, operate.

    \b
    Example:
      modelcast tokens create --depot file:///srv/models --name ci --scope publish:fraud --scope promote:fraud/staging
    """  # noqa: D301 - \b is click's mark for text that is not wrapped


depot_option = click.option("--depot", required=True, metavar="URL", help="The directory that is served: file:///srv/models.")


@tokens.command()
@depot_option
@click.option("--name", required=True, help="What it is for, for people.")
@click.option(
    "--scope", "scopes", multiple=True, required=True, metavar="SCOPE",
    help="publish, promote, fetch, report or operate; with a reach: fetch:fraud, promote:fraud/staging. May be repeated.",
)
@click.option("--days", default=365.0, show_default=True, type=click.FloatRange(0, min_open=True), help="Days until it expires.")
@click.option("--no-expiry", is_flag=True, help="It never expires.")
@json_option
def create(*, depot: str, name: str, scopes: tuple[str, ...], days: float, no_expiry: bool, as_json: bool) -> None:
    """Make a token and show it, once.

    \b
    Example:
      modelcast tokens create --depot file:///srv/models --name web --scope fetch:fraud --scope report:fraud
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.publisher.server.tokens import Grant, made  # noqa: PLC0415 - see above
    from modelcast.shared.depot.reports import now_ms  # noqa: PLC0415

    output, now = Output(as_json=as_json), now_ms()
    expires = None if no_expiry else now + round(days * 86_400_000)
    token, text = made(name[:200], [Grant.parse(scope) for scope in scopes], now, expires)
    _book(depot).add(token)
    output.note("This is shown once; only its hash is kept. Hand it over as MODELCAST_TOKEN or in a file.")
    if as_json:
        output.document({"id": token.id, "token": text, "scopes": list(map(str, token.grants)), "expires_ms": expires})
    else:
        output.data(text)


@tokens.command("list")
@depot_option
@json_option
def list_(*, depot: str, as_json: bool) -> None:
    """List the tokens; never their secrets.

    \b
    Example:
      modelcast tokens list --depot file:///srv/models
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.shared.depot.reports import now_ms  # noqa: PLC0415 - see above

    output = Output(as_json=as_json)
    known = sorted(_book(depot).read().values(), key=lambda token: token.created_ms)
    if as_json:
        output.document([
            {
                "id": token.id, "name": token.name, "scopes": list(map(str, token.grants)), "created_ms": token.created_ms,
                "expires_ms": token.expires_ms, "has_expired": token.has_expired(now_ms()),
            }
            for token in known
        ])
        return
    rows = [(token.id, token.name, " ".join(map(str, token.grants)), _until(token.expires_ms, now_ms())) for token in known]
    output.table(("id", "name", "scopes", "expires"), rows, whole=("id",))


@tokens.command()
@click.argument("identity", metavar="ID")
@depot_option
@json_option
def revoke(*, identity: str, depot: str, as_json: bool) -> None:
    """Revoke a token; servers refuse it within a second.

    \b
    Example:
      modelcast tokens revoke 0a1b2c3d4e5f --depot file:///srv/models
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    output = Output(as_json=as_json)
    token = _book(depot).remove(identity)
    if as_json:
        output.document({"id": token.id, "name": token.name})
    else:
        output.data(f"{token.id} ({token.name}) is revoked.")


def _book(depot: str) -> "TokenBook":
    from pathlib import Path  # noqa: PLC0415 - see above

    from modelcast.publisher.server.tokens import TokenBook  # noqa: PLC0415
    from modelcast.shared.depot.depot import Depot  # noqa: PLC0415
    from modelcast.shared.depot.layout import TOKENS  # noqa: PLC0415
    from modelcast.shared.file_url import FileUrl  # noqa: PLC0415

    url = FileUrl.parse(depot)
    opened = Depot(Path(url.path), allow_shared_writes=url.allow_shared_writes)
    opened.enter()
    return TokenBook(opened.root / TOKENS)


def _until(expires_ms: int | None, now: int) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415 - see above

    if expires_ms is None:
        return "never"
    if now >= expires_ms:
        return "expired"
    return datetime.fromtimestamp(expires_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
