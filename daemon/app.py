"""The composition root: the only file that knows everybody. Start order, stop order, signals, reload."""

import asyncio
import gc
import os
import random
import signal
import socket
import ssl
import sys
from collections.abc import Coroutine
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from daemon import log, metrics, wiring
from daemon.access import Keys, OperatorTokenError, operator_token
from daemon.api import app as api
from daemon.api.front import Front
from daemon.api.history import History
from daemon.api.observe import observe_state
from daemon.api.surface import Surface
from daemon.assembly import Assembly
from daemon.clock import SystemClock
from daemon.emergency import Emergency
from daemon.http_client import HttpClient
from daemon.listening import Listener, ListenError, bind, certificate, load_certificate, raise_file_limit
from daemon.outbox import Outbox
from daemon.runtime import Runtime
from daemon.settings import ConfigError
from daemon.sources.http import Intake
from daemon.sources.kafka.sources import KafkaSources
from daemon.store.base import OutboxRow, StoreError
from daemon.store.places import place_of
from daemon.store.queries import Queries
from sinks.base import Sink

REFRESH_S = 86_400
"""Calendars are expanded anew so often."""

OUTBOX_GRACE_S = 10.0
"""How long deliveries under way may take when the daemon stops."""

FINE, FAILED, COULD_NOT = 0, 1, 2


def run(config: Path | None) -> int:
    """Runs the daemon until it is told to stop, and returns the exit code: 0, 1 (it had to stop), 2 (could not run)."""
    log.configure()
    try:
        assembly = wiring.configured(config)
        address = assembly.settings.listen.internal
        tls = certificate(assembly.settings.tls)
        bound = bind(address.host, address.port)
    except (ConfigError, wiring.CannotStart, ListenError) as error:
        log.START_FAILED(text=str(error))
        return COULD_NOT
    raise_file_limit()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(Daemon(config, assembly, bound, tls).run())


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    """The one of uvloop where it is installed (the extra `uvloop`), else asyncio's."""
    try:
        import uvloop
    except ImportError:
        return None
    loop: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return loop


def build_version() -> str:
    """The version of the installed distribution, "unknown" when it is run from a bare tree."""
    try:
        return version("samband")
    except PackageNotFoundError:
        return "unknown"


def _emergency(assembly: Assembly) -> list[Sink]:
    """The sinks of notices out of band."""
    return [assembly.sinks.get(name) for name in assembly.emergency]


class Daemon:
    """One daemon, from start to stop."""

    def __init__(
        self, config: Path | None, assembly: Assembly, bound: socket.socket, tls: ssl.SSLContext | None
    ) -> None:
        self._config, self._assembly, self._socket, self._tls = config, assembly, bound, tls
        # As it listens, whatever a later configuration says.
        self._loopback = assembly.settings.listen.internal.loopback
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
        place = place_of(settings.store)
        log.conceal(place.secrets)
        store = await asyncio.to_thread(lambda: place.open(self._version))
        try:
            token_file = place.state / "operator.token"
            token = operator_token(token_file)
            self._runtime = await Runtime.open(assembly.policy, store, self._clock)
        except BaseException:
            store.close()
            raise
        log.conceal([token])
        self._http = HttpClient(settings.delivery.timeout / 1000)
        self._emergency = Emergency(_emergency(assembly), self._http, socket.gethostname(), self._clock)
        self._runtime.on_emergency, self._runtime.on_relief = self._emergency.tell, self._emergency.relieve
        self._outbox = Outbox(
            self._runtime, assembly.sinks, self._http, wiring.timing(settings), random.Random(), wiring.style(settings)
        )
        self._runtime.on_step = self._outbox.clock_stepped
        early: list[OutboxRow] = []
        self._runtime.on_sends = early.extend
        await self._runtime.start()
        self._runtime.on_sends = self._outbox.add
        self._outbox.start(self._runtime.recovered.outbox)
        self._outbox.add(early)
        queries = Queries(place.reading())
        self._keys = Keys(token, await asyncio.to_thread(queries.tokens))
        self._open_doors(queries)
        gc.collect()
        gc.freeze()
        # Alerts are no garbage: with the defaults every seventieth new one would start a collection.
        gc.set_threshold(50_000, 20, 50)
        await self._listener.start()
        await self._kafka.replace(wiring.kafka(self._assembly), settings.limits)
        self._note_configuration()
        self._spawn(self._refresh_daily())
        log.STARTED(
            listen=self._listener.address, version=self._version, mode=settings.mode, store=place.name, pid=os.getpid()
        )
        log.OPERATOR_TOKEN(path=str(token_file))
        self._greet()

    def _greet(self) -> None:
        """A person at a terminal gets a link that opens the door to a browser, once; it stands in no log."""
        if sys.stderr.isatty() and not self._assembly.settings.open_login:
            url = f"{self._listener.url}/login?code={self._keys.sessions.code()}"
            sys.stderr.write(f"\nOpen in a browser (works once, for 15 minutes):\n  {url}\n\n")
            sys.stderr.flush()

    def _open_doors(self, queries: Queries) -> None:
        settings, sources = self._assembly.settings, wiring.sources(self._assembly)
        receiver = wiring.Receiver(self._runtime)
        self._intake = Intake(sources, receiver, settings.limits, self._keys)
        self._kafka = KafkaSources(receiver)
        self._surface = Surface(
            runtime=self._runtime,
            history=History(queries),
            sources=wiring.types(self._assembly),
            senders=sources,
            link_base=settings.external_url,
            version=self._version,
            started_ms=self._clock.wall_ms(),
            keys=self._keys,
            outbox=self._outbox,
        )
        self._front = Front(
            self._intake,
            api.build(self._surface),
            wiring.access(settings, self._keys, sources, loopback=self._loopback),
            healthy=lambda: not self._stop.is_set(),
            ready=lambda: self._runtime.healthy and not self._stop.is_set(),
            reload=self.reload,
            observe=self._observe,
        )
        self._listener = Listener(self._front, self._socket, settings.limits, self._tls)

    async def _observe(self) -> None:
        await observe_state(self._runtime)
        self._outbox.observe()

    # ---- reload ------------------------------------------------------------------------------------
    async def reload(self) -> str:
        """Reads the configuration again and puts it in force; what is wrong with it, "" when it is in force.

        No deadline moves and nothing is sent again. Where it listens and stores changes at the next start.
        """
        async with self._reloading:
            try:
                fresh = await asyncio.to_thread(wiring.configured, self._config)
                if self._tls is not None and fresh.settings.tls is not None:
                    load_certificate(self._tls, fresh.settings.tls)
            except (ConfigError, wiring.CannotStart, ListenError) as error:
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
        if (now.tls is None) != (self._tls is None):
            log.CONFIG_NOTICE(key="tls", text="changed; it holds from the next start on")
        # The sinks first: what the new policy sends may go to one that was not there before.
        self._http.timeout_s = now.delivery.timeout / 1000
        self._emergency.set_sinks(_emergency(fresh))
        self._outbox.set_sinks(fresh.sinks, wiring.timing(now), wiring.style(now))
        await self._runtime.reload(fresh.policy)
        self._assembly = fresh
        sources = wiring.sources(fresh)
        self._intake.replace(sources, now.limits)
        await self._kafka.replace(wiring.kafka(fresh), now.limits)
        self._listener.keeper.limits = now.limits
        self._surface.sources, self._surface.link_base = wiring.types(fresh), now.external_url
        self._surface.senders = sources
        self._front.access = wiring.access(now, self._keys, sources, loopback=self._loopback)
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

    def _spawn(self, work: Coroutine[object, object, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self) -> bool:
        """The doors, the deliveries, the store, in this order; whether something went wrong."""
        for task in list(self._tasks):
            task.cancel()
        await self._listener.stop()
        await self._kafka.stop()
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
