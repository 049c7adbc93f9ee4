"""Carries loads to disk: folds each, commits it, and finds out what the store refuses."""

from collections.abc import Callable, Sequence
from time import perf_counter

from daemon import metrics
from daemon.batching import NotDurable, Places
from daemon.committing import Committer
from daemon.core.engine import Engine
from daemon.flight import Flight, Load, folded
from daemon.store.base import Batch, Recovered, StoreError


class Carrier:
    """Folds and commits, one load after the other. flight: the batch on its way to disk, None between two.

    on_landed: called with each batch once it is durable; on_taken_back: with the first of the ids that
    the fold of a refused batch gave, and that will be given again.
    """

    def __init__(
        self,
        engine: Engine,
        committer: Committer,
        recovered: Recovered,
        scope: str,
        places: Places,
        on_landed: Callable[[Flight], None],
        on_taken_back: Callable[[int], None],
    ) -> None:
        self.flight: Flight | None = None
        self._engine, self._committer, self._recovered, self._scope = engine, committer, recovered, scope
        self._on_landed, self._on_taken_back = on_landed, on_taken_back
        self._seq, self._places = recovered.seq, places

    async def carry(self, load: Load) -> None:
        """Returns when it is durable. What the store refuses whole is tried in pieces, so that it costs nothing else.

        Raises Fenced, and StoreError(refused) when the store refuses what is no sender's.
        """
        first, places = self._engine.state.next_id, self._places.encoded
        self.flight = flight = self._fold(load)
        try:
            await self._committer.commit(flight.batch)
        except StoreError as error:
            if error.reason != "refused" or not load.parts:
                raise
            self.flight = None
            if flight.changes is not None:
                self._engine.take_back()
            self._places.back_to(places)
            self._on_taken_back(first)
            await self._carry_pieces(load.pieces(str(error), self._engine.now_ms), flight)
            return
        self.flight = None
        self._seq = flight.batch.seq
        self._on_landed(flight)
        for submission in load.turned_away:
            submission.refuse(NotDurable("refused", 60))

    async def _carry_pieces(self, pieces: Sequence[Load], refused: Flight) -> None:
        refused.disown(NotDurable("store", 1))
        try:
            for piece in pieces:
                await self.carry(piece)
        except StoreError:
            refused.refuse(NotDurable("stopping", 5), everybody=True)
            raise

    def _fold(self, load: Load) -> Flight:
        engine, records = self._engine, load.records
        batch = Batch(
            scope=self._scope,
            epoch=self._recovered.epoch,
            seq=self._seq + 1,
            now_ms=engine.now_ms,
            policy=engine.policy.digest,
            mode=engine.policy.mode,
            next_id=engine.state.next_id,
            next_number=engine.state.next_number,
            rows=load.rows,
            positions=self._places.move(part.submission.positions for part in load.parts if part.last),
            base=load.base,
        )
        until = max(engine.now_ms, load.until)
        changes = None
        if records or 0 < engine.next_due() <= until:
            started = perf_counter()
            changes = folded(batch, engine, records, until)
            metrics.FOLD_SECONDS.observe(perf_counter() - started)
            metrics.BATCH_RECORDS.observe(len(records))
        batch.dead_letters = [*batch.dead_letters, *load.letters]
        return Flight(batch, changes, load.parts)
