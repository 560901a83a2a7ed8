"""Every route in one table: what is asked, by whom, and what comes back. The application and its OpenAPI document are both made of it.

Decides the paths. Imports the endpoints.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.responses import Response

from modelcast.publisher.server import feed, joining, publishing, reading, telling, uploading, welcome
from modelcast.publisher.server.call import JSON_TYPE, WIRE_TYPE, Call
from modelcast.publisher.server.tokens import Scope

PREFIX = "/v1"
CHUNK_TYPE = reading.BYTES_TYPE
Endpoint = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    Attributes:
        method: HTTP method.
        path: Path below the prefix, with its parameters in braces.
        endpoint: What answers; its docstring is the summary.
        scopes: The token needs one of them, reaching the model and channel of the path, or any where the path names none.
        query: Names of the query's parameters, where two mean different things by one name as ``name=kind``.
        headers: Names of the headers that it reads.
        takes: Content type of the request's body, None without one.
        gives: Content types of the answer's body.
        success: Statuses of success.
        errors: Statuses of errors besides those that any route has.
        fields: Names of the fields of a JSON body.
        is_open: Whether it needs no token.
    """

    method: str
    path: str
    endpoint: Endpoint
    scopes: Sequence[Scope] = ()
    query: Sequence[str] = ()
    headers: Sequence[str] = ()
    takes: str | None = None
    gives: Sequence[str] = (JSON_TYPE,)
    success: Sequence[int] = (200,)
    errors: Sequence[int] = ()
    fields: Sequence[str] = ()
    is_open: bool = False

    @property
    def summary(self) -> str:
        """What it does, one sentence."""
        return (self.endpoint.__doc__ or "").split("\n")[0]


MODEL, CHANNEL = "/models/{model}", "/models/{model}/channels/{channel}"
RELEASE, INSTANCE = "/models/{model}/releases/{release}", "/models/{model}/channels/{channel}/instances/{instance}"
FETCH, CHANGE = (Scope.FETCH,), (Scope.PUBLISH, Scope.PROMOTE)
PROMOTE, OPERATE = (Scope.PROMOTE,), (Scope.OPERATE,)
CONDITIONS = ("Range", "If-Range", "If-None-Match")
SESSION = (publishing.SESSION_HEADER,)
CHUNK = ("Modelcast-Version", "Modelcast-Index", "Modelcast-Count", "Modelcast-Codec")
BOTH, WIRE, NOTHING, PART = (JSON_TYPE, WIRE_TYPE), (WIRE_TYPE,), (), (CHUNK_TYPE,)

ROUTES: Sequence[Route] = (
    Route("GET", f"{MODEL}/chunks/{{digest}}", feed.chunk, FETCH, ("codec",), CONDITIONS, None, PART, (200, 206, 304), (404, 416)),
    Route("GET", f"{MODEL}/chunks:batch", feed.batch, FETCH, ("chunks",), gives=PART, errors=(404,)),
    Route("GET", f"{INSTANCE}/orders", joining.orders, FETCH, ("joined", "wait", "bookmark"), gives=WIRE, errors=(409,)),
    Route("POST", f"{INSTANCE}/orders/{{number}}/settlement", joining.settle, (Scope.REPORT,), ("joined",), takes=JSON_TYPE,
          gives=NOTHING, success=(204,), errors=(404, 409), fields=("accept",)),
    Route("DELETE", INSTANCE, joining.leave, FETCH, ("joined",), gives=NOTHING, success=(204,)),
    Route("GET", "/models", reading.models, FETCH, gives=BOTH),
    Route("DELETE", MODEL, telling.retire, OPERATE, gives=NOTHING, success=(204,), errors=(409,)),
    Route("GET", f"{MODEL}/releases", reading.releases, FETCH, gives=BOTH, errors=(404,)),
    Route("GET", RELEASE, reading.release, FETCH, gives=BOTH, errors=(404,)),
    Route("GET", f"{RELEASE}/manifest", reading.manifest, FETCH, (), ("If-None-Match",), None, WIRE, (200, 304), (404,)),
    Route("GET", f"{RELEASE}/files/{{path:path}}", reading.file, FETCH, (), CONDITIONS, None, PART, (200, 206, 304), (404, 416)),
    Route("GET", f"{MODEL}/channels", reading.channels, FETCH, gives=BOTH, errors=(404,)),
    Route("GET", f"{MODEL}/chunks", feed.index, FETCH, ("from", "limit", "wait"), gives=WIRE, errors=(404,)),
    Route("POST", f"{MODEL}/publishing", publishing.begin, CHANGE, takes=JSON_TYPE, gives=BOTH, success=(201,), errors=(409,),
          fields=("channel", "sends")),
    Route("POST", f"{MODEL}/publishing:apart", publishing.apart, (Scope.PUBLISH,), (), SESSION, None, NOTHING, (204,), (409,)),
    Route("POST", f"{MODEL}/publishing:rejoin", publishing.rejoin, (Scope.PUBLISH,), (), SESSION, None, BOTH, errors=(409,)),
    Route("DELETE", f"{MODEL}/publishing/{{session}}", publishing.end, CHANGE, gives=NOTHING, success=(204,)),
    Route("GET", f"{MODEL}/register", publishing.register, CHANGE + FETCH, ("from",), SESSION, gives=WIRE, errors=(409,)),
    Route("POST", f"{MODEL}/register", publishing.add_record, CHANGE, (), SESSION, WIRE_TYPE, NOTHING, (204,), (409,)),
    Route("POST", f"{MODEL}/chunks:mark", uploading.mark, (Scope.PUBLISH,), (), SESSION, None, BOTH, errors=(409,)),
    Route("PUT", f"{MODEL}/chunks/{{digest}}", uploading.put_chunk, (Scope.PUBLISH,), (), SESSION + CHUNK, CHUNK_TYPE, NOTHING,
          (201, 204), (409,)),
    Route("PUT", f"{MODEL}/chunks:batch", uploading.put_batch, (Scope.PUBLISH,), (),
          (*SESSION, "Modelcast-Version", "Modelcast-Chunks"), CHUNK_TYPE, NOTHING, (204,), (409,)),
    Route("POST", f"{MODEL}/chunks:finish", uploading.finish, (Scope.PUBLISH,), (), SESSION, JSON_TYPE, NOTHING, (204,), (409,),
          ("release",)),
    Route("GET", f"{MODEL}/chunks:held", uploading.held, (Scope.PUBLISH,), ("from",), SESSION, gives=WIRE, errors=(409,)),
    Route("POST", f"{CHANNEL}/orders", publishing.order, PROMOTE, (), SESSION, WIRE_TYPE, NOTHING, (204,), (409,)),
    Route("POST", f"{CHANNEL}/announcements", publishing.announcement, PROMOTE, (), SESSION, WIRE_TYPE, NOTHING, (204,),
          (409,)),
    Route("POST", "/reports", telling.report, (Scope.REPORT,), telling.KINDS, takes=WIRE_TYPE, gives=NOTHING, success=(204,)),
    Route("GET", "/reports", telling.reports, OPERATE, ("since_minutes", "from=cursor", "wait"), gives=WIRE, errors=(410,)),
    Route("GET", "/dead-letters", telling.dead_letters, OPERATE, ("limit", "from=letter"), gives=BOTH),
    Route("POST", "/dead-letters/{letter}/replay", telling.replay, OPERATE, gives=NOTHING, success=(204,), errors=(404,)),
    Route("DELETE", "/dead-letters/{letter}", telling.remove_letter, OPERATE, gives=NOTHING, success=(204,)),
    Route("GET", "/health", welcome.health, is_open=True),
    Route("GET", "/openapi.json", welcome.described, is_open=True),
)
"""In the order of matching: those that are asked most often stand first."""
