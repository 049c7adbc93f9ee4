"""The composition root: the only file that knows everybody. Start order, stop order, signals, reload."""

import asyncio
import gc
import os
import random
import signal
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from daemon import log, metrics
from daemon import outbox_rules as rules
from daemon.access import Access, OperatorTokenError, digest, operator_token
from daemon.api import app as api
from daemon.api.front import Front
from daemon.api.history import History
from daemon.api.observe import observe_state
from daemon.api.surface import Surface
from daemon.assembly import Assembly, assemble
from daemon.clock import SystemClock
from daemon.core.model.alert import ParsedAlert
from daemon.emergency import Emergency
from daemon.http_client import HttpClient
from daemon.listening import Listener, ListenError, bind
from daemon.outbox import Outbox
from daemon.outbox_orders import Style
from daemon.runtime import NotDurable, Runtime
from daemon.settings import ConfigError, Settings, load
from daemon.settings.check import Finding, check
from daemon.settings.hours import zone
from daemon.settings.sources import AlertmanagerSource
from daemon.sources.http import Intake, Source, Unavailable
from daemon.store.base import DeadLetter, OutboxRow, StoreError
from daemon.store.queries import Queries, reading
from daemon.store.sqlite import SqliteStore

REFRESH_S = 86_400
"""Calendars are expanded anew so often."""

OUTBOX_GRACE_S = 10.0
"""How long deliveries under way may take when the daemon stops."""

FINE, FAILED, COULD_NOT = 0, 1, 2


class CannotStart(Exception):
    """The daemon cannot run as configured; the text names place and remedy. Exit code 2."""


def run(config: Path | None) -> int:
    """Runs the daemon until it is told to stop, and returns the exit code: 0, 1 (it had to stop), 2 (could not run)."""
    log.configure()
    try:
        assembly = _configured(config)
        address = assembly.settings.listen.internal
        bound = bind(address.host, address.port)
    except (ConfigError, CannotStart, ListenError) as error:
        log.START_FAILED(text=str(error))
        return COULD_NOT
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(Daemon(config, assembly, bound).run())


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    """uvloop's where it is installed (the extra `uvloop`), else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    loop: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return loop


def _configured(config: Path | None) -> Assembly:
    """Reads and checks the configuration. Raises ConfigError, CannotStart."""
    assembly = assemble(load(config), from_ms=SystemClock().wall_ms())
    findings = check(assembly.settings, assembly.entries, assembly.inactive)
    errors = [str(one) for one in findings if one.level == "error"]
    if errors:
        raise CannotStart("\n".join(errors))
    _tell(findings)
    log.conceal(_secrets(assembly))
    return assembly


def _tell(findings: Sequence[Finding]) -> None:
    for one in findings:
        if one.key == "login":
            log.LOGIN_OPEN(place=one.place, remedy=one.remedy)
        else:
            log.CONFIG_NOTICE(level=one.level, place=one.place, key=one.key, text=one.text, remedy=one.remedy)


def _secrets(assembly: Assembly) -> list[str]:
    teams = ["", *assembly.entries.teams]
    sinks = [assembly.sinks.get(name, team) for name in assembly.sinks.names for team in teams]
    tokens = [token for source in assembly.sources.values() for token in source.tokens]
    return [*tokens, *(secret for sink in sinks for secret in sink.secrets)]


def build_version() -> str:
    """The version of the installed distribution, "unknown" when it is run from a bare tree."""
    try:
        return version("samband")
    except PackageNotFoundError:
        return "unknown"


class _Receiver:
    """The intake's way to the runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.now_ms = runtime.now_ms

    async def intake(self, alerts: list[ParsedAlert]) -> None:
        """See `sources.http.Receiver`."""
        try:
            await self._runtime.intake(alerts)
        except NotDurable as error:
            raise Unavailable(error.retry_after_s, error.reason) from None

    async def dead_letter(self, source: str, reason: str, raw: bytes) -> None:
        """See `sources.http.Receiver`."""
        try:
            await self._runtime.dead_letter(DeadLetter(self._runtime.now_ms(), source, reason, raw))
        except NotDurable as error:
            raise Unavailable(error.retry_after_s, error.reason) from None


class Daemon:
    """One daemon, from start to stop."""

    def __init__(self, config: Path | None, assembly: Assembly, bound: socket.socket) -> None:
        self._config, self._assembly, self._socket = config, assembly, bound
        self._clock = SystemClock()
        self._version = build_version()
        self._stop = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()

    async def run(self) -> int:
        """Starts, serves, stops; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload)
        try:
            await self._start()
        except (StoreError, OperatorTokenError, ListenError) as error:
            log.START_FAILED(text=str(error))
            return COULD_NOT
        stopped = loop.create_task(self._stop.wait())
        runtime = loop.create_task(self._runtime.wait())
        served = self._listener.task
        await asyncio.wait({stopped, runtime, *([served] if served else [])}, return_when=asyncio.FIRST_COMPLETED)
        failed = not self._stop.is_set()
        self._stop.set()
        await stopped
        runtime.cancel()
        await asyncio.gather(runtime, return_exceptions=True)
        return FAILED if await self._end() or failed else FINE

    # ---- start -------------------------------------------------------------------------------------
    async def _start(self) -> None:
        """Store, state, outbox, then the doors: whoever is answered is answered by the whole daemon."""
        settings, assembly = self._assembly.settings, self._assembly
        path = Path(settings.store.path)
        store = await asyncio.to_thread(lambda: SqliteStore(path, build=self._version))
        try:
            token = operator_token(path.with_name("operator.token"))
            self._runtime = await Runtime.open(assembly.policy, store, self._clock)
        except BaseException:
            store.close()
            raise
        log.conceal([token])
        self._http = HttpClient(settings.delivery.timeout / 1000)
        self._emergency = self._emergency_of(assembly)
        self._runtime.on_emergency = lambda cause, text: self._emergency.tell(cause, text)
        self._runtime.on_relief = lambda cause: self._emergency.relieve(cause)
        self._outbox = Outbox(
            self._runtime, assembly.sinks, self._http, _timing(settings), random.Random(), _style(settings)
        )
        early: list[OutboxRow] = []
        self._runtime.on_sends = early.extend
        await self._runtime.start()
        self._runtime.on_sends = self._outbox.add
        self._outbox.start(self._runtime.recovered.outbox)
        self._outbox.add(early)
        self._open_doors(token, path)
        gc.collect()
        gc.freeze()
        await self._listener.start()
        self._note_configuration()
        self._spawn(self._refresh_daily())
        log.STARTED(
            listen=self._listener.address, version=self._version, mode=settings.mode, store=str(path), pid=os.getpid()
        )

    def _open_doors(self, token: str, path: Path) -> None:
        settings = self._assembly.settings
        self._intake = Intake(_sources(self._assembly), _Receiver(self._runtime))
        self._surface = Surface(
            runtime=self._runtime,
            history=History(Queries(reading(path))),
            sources=_types(self._assembly),
            link_base=settings.external_url,
            version=self._version,
            started_ms=self._clock.wall_ms(),
        )
        front = Front(
            self._intake,
            api.build(self._surface),
            _access(settings, token),
            healthy=lambda: self._runtime.healthy or not self._stop.is_set(),
            ready=lambda: self._runtime.healthy and not self._stop.is_set(),
            reload=self.reload,
            observe=self._observe,
        )
        self._front, self._token = front, token
        self._listener = Listener(front, self._socket)
        log.OPERATOR_TOKEN(path=str(path.with_name("operator.token")))

    async def _observe(self) -> None:
        await observe_state(self._runtime)
        self._outbox.observe()

    def _emergency_of(self, assembly: Assembly) -> Emergency:
        sinks = [assembly.sinks.get(name) for name in assembly.emergency]
        return Emergency(sinks, self._http, socket.gethostname(), self._clock)

    # ---- reload ------------------------------------------------------------------------------------
    async def reload(self) -> str:
        """Reads the configuration again and puts it in force; what is wrong with it, "" when it is in force.

        No deadline moves and nothing is sent again. Where it listens and stores changes at the next start.
        """
        async with self._reloading:
            try:
                fresh = await asyncio.to_thread(_configured, self._config)
            except (ConfigError, CannotStart) as error:
                log.RELOAD_FAILED(text=str(error))
                metrics.CONFIG_RELOAD_SUCCESSFUL.set(0)
                return str(error)
            await self._put_in_force(fresh)
            return ""

    async def _put_in_force(self, fresh: Assembly) -> None:
        before, now = self._assembly.settings, fresh.settings
        for key in ("listen", "store"):
            if getattr(before, key) != getattr(now, key):
                log.CONFIG_NOTICE(key=key, text="changed; it holds from the next start on")
        await self._runtime.reload(fresh.policy)
        self._assembly = fresh
        self._outbox.set_sinks(fresh.sinks, _timing(now), _style(now))
        self._emergency = self._emergency_of(fresh)
        self._intake.replace(_sources(fresh))
        self._surface.sources, self._surface.link_base = _types(fresh), now.external_url
        self._front.access = _access(before if now.listen != before.listen else now, self._token)
        self._note_configuration()
        log.RELOADED(policy=fresh.policy.digest, mode=now.mode)

    def _note_configuration(self) -> None:
        policy = self._assembly.policy
        metrics.BUILD_INFO.clear()
        metrics.BUILD_INFO.labels(self._version, policy.digest).set(1)
        metrics.SHADOW.set(policy.mode == "shadow")
        metrics.CONFIG_RELOAD_SUCCESSFUL.set(1)
        metrics.CONFIG_RELOAD_TIMESTAMP.set(self._clock.wall_ms() / 1000)

    async def _refresh_daily(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            await self.reload()

    # ---- stop --------------------------------------------------------------------------------------
    def _asked_to_stop(self, number: int) -> None:
        if self._stop.is_set():
            log.STOP_FORCED(signal=signal.Signals(number).name)
            os._exit(FAILED)
        log.STOPPING(signal=signal.Signals(number).name)
        self._stop.set()

    def _asked_to_reload(self) -> None:
        if hasattr(self, "_front"):
            self._spawn(self.reload())

    def _spawn(self, work: "asyncio.Coroutine[object, object, object]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self) -> bool:
        """The doors, the deliveries, the store, in this order; whether something went wrong."""
        for task in list(self._tasks):
            task.cancel()
        await self._listener.stop()
        await self._outbox.stop(OUTBOX_GRACE_S)
        failed = False
        try:
            await self._runtime.stop()
        except StoreError as error:
            log.COMMIT_FAILED(reason=error.reason, text=str(error))
            failed = True
        await self._emergency.close()
        await self._http.close()
        log.STOPPED()
        return failed


def _sources(assembly: Assembly) -> dict[str, Source]:
    return {
        name: Source(
            name,
            one.type,
            tuple(digest(token) for token in one.tokens),
            one.resolves,
            one.replica_labels,
            *((one.resolve_timeout,) if isinstance(one, AlertmanagerSource) else ()),
        )
        for name, one in assembly.sources.items()
    }


def _types(assembly: Assembly) -> dict[str, str]:
    return {name: source.type for name, source in assembly.sources.items()}


def _access(settings: Settings, token: str) -> Access:
    loopback = settings.listen.internal.loopback
    return Access(token, open_=settings.open_login and loopback, metrics_open=loopback or settings.metrics == "open")


def _timing(settings: Settings) -> rules.Timing:
    given = settings.delivery
    return rules.Timing(
        retry_first=given.retry_first,
        retry_max=given.retry_max,
        give_up_after=given.give_up_after,
        circuit_pause=given.circuit_pause,
        settle=given.settle,
    )


def _style(settings: Settings) -> Style:
    place = zone(settings.timezone)

    def at(ms: int) -> tuple[int, str]:
        local = datetime.fromtimestamp(ms / 1000, UTC).astimezone(place)
        offset = local.utcoffset()
        return (int(offset.total_seconds()) // 60 if offset else 0, local.tzname() or "UTC")

    return Style(settings.external_url, at)
