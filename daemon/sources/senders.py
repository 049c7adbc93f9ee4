"""Who sends: the source that a request's path and token name, and the format it speaks there."""

from collections.abc import Mapping

import msgspec

from daemon.access import Caller, Keys, matching, presented
from daemon.access.routes import SEND
from daemon.sources import answers
from daemon.sources.answers import Answer
from daemon.sources.formats.base import RESOLVE_TIMEOUT_MS, Format
from daemon.sources.formats.pagerduty_events import Route
from daemon.sources.formats.registry import FORMATS, HOOKS
from daemon.sources.kafka.messages import TopicForm

AM_ALERTS = "/api/v2/alerts"
NATIVE_ALERTS = "/api/v1/alerts"
HOOKS_PREFIX = "/hooks/"
SOURCES_PREFIX = "/sources/"


class Source(msgspec.Struct, frozen=True):
    """One configured source. tokens: their digests (`access.digest`); none: it is open.

    routes: PagerDuty's routing keys, as digests, and what each stands for. topics: those of Kafka that it
    follows, and how they are read.
    """

    name: str
    type: str
    tokens: tuple[bytes, ...] = ()
    resolves: bool | None = None
    ignored: tuple[str, ...] = ("prometheus_replica", "replica")
    resolve_timeout_ms: int = RESOLVE_TIMEOUT_MS
    routes: tuple[tuple[bytes, Route], ...] = ()
    topics: Mapping[str, TopicForm] = {}


class Request(msgspec.Struct):
    """One request on its way. mirror: the answers are Alertmanager's.

    stranger: why it is no request of a program on this machine, "" when it is one.
    """

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    client: str
    mirror: bool
    stranger: str = ""

    def header(self, name: bytes) -> str:
        """The first field of this name, "" without."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return ""


class Refused(Exception):
    """The request ends here, with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Senders:
    """The configured sources, and who among them may have sent a request.

    keys: the tokens that samband issued; one of role ingest does in place of the source's own.
    """

    def __init__(self, sources: Mapping[str, Source], keys: Keys | None = None) -> None:
        self._sources, self._keys = dict(sources), keys
        self._kinds: dict[str, dict[str, Source]] = {}
        for source in self._sources.values():
            self._kinds.setdefault(source.type, {})[source.name] = source
        self._tokens = {name: one.tokens for name, one in self._sources.items() if one.tokens}

    def identify(self, request: Request) -> tuple[Source, Format]:
        """The source that the path and the token name, and the format it speaks there. Raises Refused."""
        path = request.path
        if request.method != "POST":
            raise Refused(
                answers.am_method(request.method, "GET,POST")
                if request.mirror
                else answers.failure(405, "only POST is answered here")
            )
        if path.startswith(HOOKS_PREFIX):
            source = self._named(request, path.removeprefix(HOOKS_PREFIX), tuple(HOOKS))
            return source, HOOKS[source.type]
        if path == NATIVE_ALERTS:
            return self._only(request, "native"), FORMATS["native"]
        if path == AM_ALERTS:
            return self._only(request, "alertmanager"), FORMATS["alertmanager"]
        name = path.removeprefix(SOURCES_PREFIX).removesuffix(AM_ALERTS)
        return self._named(request, name, ("alertmanager",)), FORMATS["alertmanager"]

    def _named(self, request: Request, name: str, types: tuple[str, ...]) -> Source:
        """The source of this name, if the request may use it. Without a token that fits nobody learns which exist."""
        source = self._sources.get(name)
        given = presented(request.headers)
        caller = self._issued(given)
        if source is None:
            known = caller or not self._guarded(given)
            raise (Refused(self._missing(request)) if known else self._unauthorised())
        if caller is not None:
            if caller.source not in ("", name):
                raise Refused(answers.failure(403, f"this token sends for {caller.source} only"))
        elif not source.tokens:
            self._allow_open(request)
        elif not matching(given, {name: source.tokens}):
            raise self._unauthorised()
        if source.type not in types:
            raise Refused(self._missing(request))
        return source

    def _only(self, request: Request, kind: str) -> Source:
        """The only source of this type, else the one that the token names."""
        sources = self._kinds.get(kind)
        if not sources:
            raise Refused(self._missing(request))
        given = presented(request.headers)
        if given is None and len(sources) == 1 and not self._tokens:
            self._allow_open(request)
            return next(iter(sources.values()))
        tokens = {name: self._tokens[name] for name in sources if name in self._tokens}
        caller = self._issued(given)
        if caller is None:
            named = matching(given, tokens)
        else:
            named = [name for name in sources if caller.source in ("", name)]
            if not named:
                raise Refused(answers.failure(403, f"this token sends for {caller.source} only"))
        if len(named) == 1:
            return sources[named[0]]
        unguarded = [name for name in sources if name not in tokens]
        if not unguarded and not named:
            raise self._unauthorised()
        if not named:
            self._allow_open(request)
        if len(sources) == 1:
            return sources[unguarded[0]]
        prefix = HOOKS_PREFIX + "NAME" if kind == "native" else SOURCES_PREFIX + "NAME" + AM_ALERTS
        text = f"several sources of type {kind}: {', '.join(sorted(named or unguarded))}; post to {prefix}"
        raise Refused(answers.am_failure(422, text) if request.mirror else answers.failure(422, text))

    def _issued(self, given: bytes | None) -> Caller | None:
        """Whose issued token it is, when its role sends alerts; one of another role is refused."""
        caller = self._keys.find(given) if self._keys is not None and given is not None else None
        if caller is not None and caller.role not in SEND:
            raise Refused(answers.failure(403, "this token's role sends no alerts"))
        return caller

    def _guarded(self, given: bytes | None) -> bool:
        """Whether an unknown name is answered 401 rather than 404: some source has a token, and none fits."""
        return bool(self._tokens) and not matching(given, self._tokens)

    @staticmethod
    def _allow_open(request: Request) -> None:
        if request.stranger:
            raise Refused(answers.failure(403, request.stranger))

    @staticmethod
    def _unauthorised() -> Refused:
        return Refused(answers.failure(401, "a source's token is needed: Authorization: Bearer TOKEN"))

    @staticmethod
    def _missing(request: Request) -> Answer:
        if request.mirror:
            return answers.am_not_found(request.path)
        return answers.failure(404, "there is no such source; `sources:` in the configuration names them")
