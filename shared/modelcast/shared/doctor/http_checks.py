"""What can be said of a server of releases: how it is reached, TLS, its clock, its version, and what its token may do.

Decides which scopes a role needs, and how a scope is found out without using it: each question is one that the server refuses for
another reason after it has looked at the token. Imports the line.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime

from modelcast.shared.doctor.findings import Case, Finding, clock_finding, finding_of, fine, problem, warning
from modelcast.shared.errors import AuthenticationRefused, ModelcastError, PermissionRefused
from modelcast.shared.http_line import Ask, Line, Server
from modelcast.shared.http_token import TOKEN_VARIABLE, token_of
from modelcast.shared.http_url import HttpUrl
from modelcast.shared.permissions import Role

NEEDED = {
    Role.PUBLISHER: ("publish", "promote", "fetch"), Role.INSTANCE: ("fetch", "report"), Role.OPERATOR: ("operate", "fetch"),
    Role.REPLAYER: ("operate",),
}
"""Scopes that a role cannot do without; a publisher that waits for verdicts needs ``operate``, too."""
HELPFUL = {Role.PUBLISHER: ("operate",)}
_JSON = {"Content-Type": "application/json"}


def check_server(case: Case) -> Iterator[Finding]:
    """Look at the server that the case names."""
    url = HttpUrl.parse(case.url)
    token = token_of(url, None, os.environ)
    line = Server(url, token).line()
    try:
        began = time.monotonic()
        try:
            answer = line.call(Ask("GET", "/health"), "health")
        except ModelcastError as error:
            yield finding_of("server", error, "Is the address right, and the port open from here?")
            return
        took = time.monotonic() - began
        yield _reached(url, took, str(answer.message("health").get("modelcast", "?"))[:40])
        yield clock_of_server(answer.headers.get("date"))
        yield from _token(line, case, has_one=token is not None)
    finally:
        line.close()


def _reached(url: HttpUrl, took: float, version: str) -> Finding:
    text = f"{url} answers in {1000 * took:.0f} ms; it is modelcast {version}."
    if not url.is_tls and not url.is_here:
        return warning("server", f"{text} Models travel without TLS.", "Put TLS before it, and write https://", version=version)
    return fine("server", text, version=version, answer_seconds=took)


def clock_of_server(date: str | None, now: Callable[[], float] = time.time) -> Finding:
    """Compare the time in a server's answer, which is in whole seconds, with this host's."""
    try:
        told = parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError):
        return fine("clock", "The server does not say what time it is.")
    here = now()
    return clock_finding("clock", told - here if told > here else min(told + 1.0 - here, 0.0), "the server", accuracy=1.0)


def _token(line: Line, case: Case, *, has_one: bool) -> Iterator[Finding]:
    try:
        line.call(Ask("GET", "/models"), "models")
    except AuthenticationRefused as refused:
        text = "The server does not accept the token." if has_one else "The server asks for a token, and there is none."
        yield problem("token", text, refused.hint or f"Set {TOKEN_VARIABLE}.")
        return
    except PermissionRefused:
        pass   # a token that is good for other things
    if case.model is None or case.role is None:
        yield fine("token", "The server accepts the token." if has_one else "The server lets in whoever comes.")
        return
    asks = _questions(case.model, case.channel)
    has = {scope for scope, ask in asks.items() if _is_allowed(line, ask)}
    where, missing = f"{case.model}/{case.channel}", [scope for scope in NEEDED[case.role] if scope not in has]
    if missing:
        reach = {"promote": f":{where}", "operate": ""}
        scopes = " ".join(f"--scope {scope}{reach.get(scope, f':{case.model}')}" for scope in NEEDED[case.role])
        yield problem(
            "token", f"The token has no scope {', '.join(missing)} that reaches {where}.",
            f"Run beside the server: modelcast tokens create --depot file://... --name {case.role} {scopes}",
            has=sorted(has), missing=missing,
        )
    unhelped = [scope for scope in HELPFUL.get(case.role, ()) if scope not in has]
    if unhelped:
        yield warning(
            "token", "The token has no scope operate, so that this publisher cannot wait for verdicts.",
            "Add --scope operate to the token, or do not wait.", has=sorted(has), missing=unhelped,
        )
    if not missing:
        yield fine("token", f"The token may do all that a role {case.role} of {where} does.", has=sorted(has))


def _questions(model: str, channel: str) -> dict[str, Ask]:
    """Return a question for each scope; what it asks for is refused by whatever server, or only looked at."""
    here, nobody = f"/models/{model}/channels/{channel}", secrets.token_hex(8)
    settlement = f"{here}/instances/doctor-{nobody}/orders/{2**31}/settlement"
    return {
        "publish": Ask("GET", f"/models/{model}/chunks:held"),   # outside of a session
        "promote": Ask("POST", f"{here}/orders", body=b"doctor"),   # outside of a session
        "fetch": Ask("GET", f"/models/{model}/channels"),
        "report": Ask("POST", settlement, {"joined": nobody}, b'{"accept": true}', _JSON),   # of an order that is not there
        "operate": Ask("GET", "/dead-letters", {"limit": 1}),
    }


def _is_allowed(line: Line, ask: Ask) -> bool:
    try:
        line.call(ask, "permission")
    except PermissionRefused:
        return False
    except (AuthenticationRefused, ModelcastError) as refusal:
        if "status" not in refusal.facts:
            raise
    return True
