"""The state of this process: every property, the watermarks, and what may be answered from memory.

Called by the consumers (what arrived), by resync (what booking said) and by the answers. What arrives is applied
without an await, so each change is seen whole or not at all.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import numpy as np

from availability.domain.property_calendar import CalendarState, Delta, PropertyCalendar
from availability.domain.store.night_matrix import WINDOW_NIGHTS
from availability.domain.store.property_store import PropertyStore
from availability.domain.store.range_table import RangeMissing
from availability.domain.watermarks import Watermarks
from availability.service.wanted import Cause, Wanted
from availability.snapshots.states import delta_of, instant, state_of
from contracts.booking_http_v1 import PropertyState
from contracts.booking_properties_v1 import PropertySnapshot
from contracts.booking_reservations_v1 import InventoryChange
from runtime.kafka import partition_of
from runtime.logs import get_logger

log = get_logger(__name__)

WINDOW_BEFORE_TODAY = timedelta(days=2)
# Ranges that ended this long before the window are forgotten; snapshots bring those that end in the window or later.
KEEP = timedelta(days=3)
SLICE = 200
SLICE_OF_BITS = 32


@dataclass(frozen=True, slots=True)
class View:
    """What memory answers of one property: its state, complete up to `as_of`, and the database's estimated clock."""

    state: CalendarState
    as_of: datetime
    lag_ms: int
    database_now: datetime


@dataclass(frozen=True, slots=True)
class Ages:
    """The database's estimated clock, and what memory is complete up to, by partition of which it may answer."""

    now: datetime
    as_of: Mapping[int, datetime]


class Cache:
    """One replica's memory. `partitions` is the partition count of both topics of booking."""

    def __init__(self, partitions: int) -> None:
        self.caught_up = asyncio.Event()
        self.wanted = Wanted()
        self.something_lost = asyncio.Event()
        self.partitions = partitions
        # Until a watermark tells the database's day, the window is that of our own clock.
        self.store = PropertyStore(datetime.now(UTC).date() - WINDOW_BEFORE_TODAY)
        self._waiting: dict[UUID, tuple[Delta, ...]] = {}
        self._parked: set[UUID] = set()
        self._watermarks = Watermarks()
        self._losses: dict[int, int] = {}
        self._waiters: dict[UUID, set[tuple[int, asyncio.Future[None]]]] = {}
        self._was_ready = False

    # What the topics say.

    def apply_change(self, agency_id: UUID, change: InventoryChange) -> None:
        """A change arrived; raises `ZonelessInstant`."""
        property_id, delta = change.property_id, delta_of(change, agency_id)
        row = self.store.find(property_id)
        is_next = row is not None and delta.version == self.store.version(row) + 1
        if row is None or property_id in self._waiting or not (is_next and delta.changes_nights_only):
            self._step(property_id, row, lambda calendar: calendar.with_delta(delta))
            return
        try:
            self.store.apply(row, delta)
        except RangeMissing as error:
            log.warning("a change does not fit what is kept", property_id=str(property_id), error=str(error))
            self.distrust(property_id, Cause.UNREADABLE)
        else:
            self._wake(property_id, delta.version)

    def apply_snapshot(self, snapshot: PropertySnapshot) -> None:
        """A whole state arrived on the compacted topic; raises `ZonelessInstant`."""
        property_id = snapshot.property_id
        row = self.store.find(property_id)
        if row is None or self.store.version(row) < snapshot.inventory_version:
            state = state_of(snapshot)
            self._step(property_id, row, lambda calendar: calendar.with_state(state))

    def apply_watermark(self, partition: int, database_time: datetime, held_back: Collection[UUID] = ()) -> None:
        """Every change of this partition up to a database time has arrived, but of the properties that are held back.

        Raises `ZonelessInstant`.
        """
        self._watermarks = self._watermarks.seen(partition, instant(database_time), time.monotonic(), held_back)

    def remove(self, property_id: UUID) -> None:
        """The property is no more; a question about it goes to booking."""
        self.store.remove(property_id)
        self._waiting.pop(property_id, None)
        self._parked.discard(property_id)

    def distrust(self, property_id: UUID, cause: Cause) -> None:
        """What is kept of this property is wrong or incomplete: it is asked of booking, not answered until then."""
        self.remove(property_id)
        self.want(property_id, cause)

    def report_loss(self, partition: int) -> None:
        """Changes of this partition are gone for good: nothing of it is answered until it was compared with booking."""
        log.warning("changes are lost, comparing with booking", partition=partition)
        self._losses[partition] = self._losses.get(partition, 0) + 1
        self.something_lost.set()

    def report_caught_up(self) -> None:
        """Both topics are read to the ends they had at the start."""
        self.caught_up.set()

    @property
    def is_caught_up(self) -> bool:
        """True once both topics were read to the ends they had at the start."""
        return self.caught_up.is_set()

    # What booking says.

    def heard(self, property_id: UUID) -> int:
        """The highest version heard of; take it before asking booking, for `apply_ledger` and `remove_unless_newer`."""
        waiting = self._waiting.get(property_id)
        if waiting:
            return waiting[-1].version
        row = self.store.find(property_id)
        return self.store.version(row) if row is not None else 0

    def apply_ledger(self, answer: PropertyState, heard_before: int) -> CalendarState:
        """Booking answered a whole state; returns it. Raises `ZonelessInstant`."""
        state = state_of(answer.state)
        property_id = answer.state.property_id
        self._step(property_id, self.store.find(property_id), lambda known: known.with_state(state, heard_before))
        self._watermarks = self._watermarks.told(instant(answer.as_of), time.monotonic())
        return state

    def remove_unless_newer(self, property_id: UUID, heard_before: int) -> None:
        """Booking does not know the property, unless it was created since it was asked."""
        if self.heard(property_id) <= heard_before:
            self.remove(property_id)

    def losses(self) -> Mapping[int, int]:
        """The partitions that must be compared with booking, each with the number of its losses."""
        return dict(self._losses)

    def settle(self, losses: Mapping[int, int]) -> None:
        """These losses are repaired; a partition that lost changes again meanwhile stays open."""
        for partition, count in losses.items():
            if self._losses.get(partition) == count:
                del self._losses[partition]
        if not self._losses:
            self.something_lost.clear()

    # The snapshot file.

    def unfinished(self) -> set[UUID]:
        """Properties whose state is not complete, or is being fetched."""
        return {*self._waiting, *self.wanted}

    def take_up(self, store: PropertyStore, unfinished: Iterable[UUID]) -> None:
        """Begin with what a snapshot file held."""
        self.store = store
        for property_id in unfinished:
            self.want(property_id, Cause.UNFINISHED)

    # What may be answered.

    def owner(self, property_id: UUID) -> UUID | None:
        """The agency of a property that is known and not gone, fresh or not."""
        row = self.store.find(property_id)
        return None if row is None or self.store.is_gone(row) else self.store.agency_id(row)

    def covers(self, start: date, end: date) -> bool:
        """True when memory keeps every range that can close a night of `[start, end)`."""
        first = self.window_first()
        return first <= start and end <= first + timedelta(days=WINDOW_NIGHTS)

    def has_bits(self, start: date, end: date) -> bool:
        """True when searches may ask about the nights `[start, end)`."""
        return self.store.taken.first <= start and end <= self.store.taken.end

    def view(self, property_id: UUID, start: date | None = None, end: date | None = None) -> View | None:
        """What memory may answer of a property now; None when it is unknown, parked, or memory is not complete.

        It is not complete for a property that booking's relay holds back: no watermark tells of it.

        With `start` and `end` its state has only the ranges that can close a night of `[start, end)`: much is saved.
        """
        row = self.store.find(property_id)
        if row is None or property_id in self._parked:
            return None
        partition = self.store.partition(row)
        if not self.is_caught_up or partition in self._losses or self._watermarks.holds_back(partition, property_id):
            return None
        monotonic_s = time.monotonic()
        lag_ms = self._watermarks.lag_ms(partition, monotonic_s)
        now = self._watermarks.database_now(monotonic_s)
        if lag_ms is None or now is None:
            return None
        return View(self.store.state(row, start, end), self._watermarks.as_of[partition], lag_ms, now)

    def ages(self) -> Ages | None:
        """How fresh memory is now; None while it may answer nothing."""
        now = self.database_now()
        as_of = {number: end for number, end in self._watermarks.as_of.items() if number not in self._losses}
        return Ages(now, as_of) if now is not None and as_of and self.is_caught_up else None

    def vouched_version(self, property_id: UUID) -> int | None:
        """The version of a property that memory answers with; None when it answers nothing of it."""
        row = self.store.find(property_id)
        if row is None or property_id in self._parked or not self.is_caught_up:
            return None
        partition = self.store.partition(row)
        is_complete = partition in self._watermarks.as_of and partition not in self._losses
        return self.store.version(row) if is_complete else None

    def shown_version(self, property_id: UUID) -> int | None:
        """The version a view of a property would have; None for an unknown one."""
        row = self.store.find(property_id)
        return None if row is None else self.store.version(row)

    def fingerprint(self, property_id: UUID, after: date) -> tuple[int, str] | None:
        """Version and digest of a property, over its ranges that end after a date; None when nothing is shown of it."""
        row = self.store.find(property_id)
        if row is None or property_id in self._parked or self.store.is_gone(row):
            return None
        return self.store.version(row), self.store.taken.ranges(row).digest(after)

    def bits_agree(self, property_id: UUID) -> bool:
        """True when the bits that searches read say of a property what its ranges say."""
        row = self.store.find(property_id)
        return row is None or self.store.taken.bits_agree(row)

    def wrong_bits(self, row: int) -> list[UUID]:
        """`bits_agree` for SLICE_OF_BITS rows from `row` on, a multiple of it: the properties of those that do not."""
        rows = self.store.taken.wrong_bits(row, row + SLICE_OF_BITS)
        return self.store.ids(rows[rows < self.store.row_count])

    async def wait_for_version(self, property_id: UUID, version: int, timeout_s: float) -> None:
        """Return when a version of the property is shown, at the latest after `timeout_s`."""
        waiter = (version, asyncio.get_running_loop().create_future())
        self._waiters.setdefault(property_id, set()).add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter[1]
        except TimeoutError:
            return
        finally:
            waiters = self._waiters[property_id]
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[property_id]

    def trusted(self, cursor: UUID | None, limit: int) -> list[UUID]:
        """Up to `limit` properties that are neither parked nor gone, in id order, beyond `cursor`."""
        return [self.store.property_id(row) for row in self.store.page(cursor, limit)]

    def partition(self, property_id: UUID) -> int:
        """The partition a property's records are on."""
        return partition_of(str(property_id), self.partitions)

    def as_of(self, partition: int) -> datetime | None:
        """The database time up to which every change of a partition has arrived; None before its first watermark."""
        return self._watermarks.as_of.get(partition)

    def partition_members(self, partitions: Collection[int]) -> list[UUID]:
        """The properties of these partitions."""
        rows = self.store.rows_in(0, self.store.row_count)
        here = np.isin(self.store.partitions(rows), list(partitions))
        strangers = (key for key in self._parked if self.store.find(key) is None and self.partition(key) in partitions)
        return [*self.store.ids(rows[here]), *strangers]

    def database_now(self) -> datetime | None:
        """The database's clock as estimated now; None before the first watermark."""
        return self._watermarks.database_now(time.monotonic())

    def missing(self) -> str | None:
        """What must still happen before this replica is ready; None once it was, whatever happens later."""
        if not self._was_ready:
            unmarked = [number for number in range(self.partitions) if number not in self._watermarks.as_of]
            if not self.is_caught_up:
                return "the topics are not read to the ends they had at the start"
            if unmarked:
                return f"no watermark was seen on the partitions {unmarked}"
            if self._losses:
                return f"the partitions {sorted(self._losses)} are not compared with booking"
        self._was_ready = True
        return None

    async def forget_past(self) -> None:
        """Drop ranges that ended long before the window; the memory would grow for ever."""
        day = self.window_first() - KEEP
        async for row in self._every_row():
            self.store.taken.forget_past(row, day)

    async def roll_window(self) -> None:
        """Move the bits on when the database's day has changed; the nights that come in are filled a few at a time."""
        taken, first = self.store.taken, self.window_first()
        if first == taken.first:
            return
        taken.roll(first)
        async for row in self._every_row():
            taken.refill(row)
        taken.refilled()
        log.info("the window has moved", first=str(first), properties=len(self.store))

    async def _every_row(self) -> AsyncIterator[int]:
        """Each row in use, also those that come meanwhile."""
        start = 0
        while start < self.store.row_count:
            for row in self.store.rows_in(start, start + SLICE).tolist():
                yield row
            start += SLICE
            await asyncio.sleep(0)

    def window_first(self) -> date:
        """The first night that memory answers for."""
        now = self.database_now()
        return now.date() - WINDOW_BEFORE_TODAY if now is not None else self.store.taken.first

    def _step(self, property_id: UUID, row: int | None, step: Callable[[PropertyCalendar], PropertyCalendar]) -> None:
        """Let something happen to a property, and keep what has become of it."""
        shown = None if row is None else self.store.state(row)
        calendar = step(PropertyCalendar(self.partition(property_id), shown, self._waiting.get(property_id, ())))
        if calendar.shown is not None and calendar.shown is not shown:
            row = self.store.put(property_id, calendar.partition, calendar.shown)
        if calendar.waiting:
            self._waiting[property_id] = calendar.waiting
        else:
            self._waiting.pop(property_id, None)
        if calendar.is_parked:
            self._parked.add(property_id)
            self.want(property_id, Cause.STATELESS if calendar.shown is None else Cause.GAP)
        elif property_id in self._parked:
            self._parked.remove(property_id)
            self.wanted.drop(property_id)
        if row is not None:
            self.store.park(row, is_parked=calendar.is_parked)
            self._wake(property_id, self.store.version(row))

    def _wake(self, property_id: UUID, version: int) -> None:
        for wanted, waiter in self._waiters.get(property_id, ()):
            if version >= wanted and not waiter.done():
                waiter.set_result(None)

    def want(self, property_id: UUID, cause: Cause) -> None:
        """Have the property fetched from booking."""
        self.wanted.add(property_id, cause)
