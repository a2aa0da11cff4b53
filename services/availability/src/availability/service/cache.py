"""The state of this process: every property's calendar, the watermarks, and what may be answered from memory.

Called by the consumers (what arrived), by resync (what booking said) and by the answers. Nothing here awaits but
`wait_for_version`, so each change is seen whole or not at all.
"""

import asyncio
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from uuid import UUID

from availability.domain.property_calendar import CalendarState, PropertyCalendar
from availability.domain.watermarks import Watermarks
from availability.snapshots import delta_of, instant, state_of
from contracts.booking_http_v1 import PropertyState
from contracts.booking_properties_v1 import PropertySnapshot
from contracts.booking_reservations_v1 import InventoryChange
from runtime.kafka import partition_of
from runtime.logs import get_logger

log = get_logger(__name__)

WINDOW_DAYS_BEFORE_TODAY = 2
# Ranges that ended this long before the window are forgotten; snapshots bring those that end in the window or later.
KEEP_DAYS = 3
SLICE = 200
_AS_NUMBER = attrgetter("int")  # UUIDs compare in Python code, their numbers do not


@dataclass(frozen=True, slots=True)
class View:
    """What memory answers of one property: its state, complete up to `as_of`, and the database's estimated clock."""

    state: CalendarState
    as_of: datetime
    lag_ms: int
    database_now: datetime


class Cache:
    """One replica's memory. `partitions` is the partition count of both topics of booking."""

    def __init__(self, partitions: int) -> None:
        self.caught_up = asyncio.Event()
        self.wanted: dict[UUID, None] = {}
        self.something_wanted = asyncio.Event()
        self.something_lost = asyncio.Event()
        self._partitions = partitions
        self._calendars: dict[UUID, PropertyCalendar] = {}
        self._order: list[UUID] | None = None
        self._of_agency: defaultdict[UUID, dict[UUID, None]] = defaultdict(dict)
        self._watermarks = Watermarks()
        self._losses: dict[int, int] = {}
        self._waiters: dict[UUID, set[tuple[int, asyncio.Future[None]]]] = {}
        self._was_ready = False

    # What the topics say.

    def apply_change(self, agency_id: UUID, change: InventoryChange) -> None:
        """A change arrived; raises `ZonelessInstant`."""
        property_id = change.property_id
        self._put(property_id, self._calendar(property_id).with_delta(delta_of(change, agency_id)))

    def apply_snapshot(self, snapshot: PropertySnapshot) -> None:
        """A whole state arrived on the compacted topic; raises `ZonelessInstant`."""
        property_id = snapshot.property_id
        self._put(property_id, self._calendar(property_id).with_state(state_of(snapshot)))

    def apply_watermark(self, partition: int, database_time: datetime) -> None:
        """Every change of this partition up to a database time has arrived; raises `ZonelessInstant`."""
        self._watermarks = self._watermarks.seen(partition, instant(database_time), time.monotonic())

    def remove(self, property_id: UUID) -> None:
        """The property is no more; a question about it goes to booking."""
        calendar = self._calendars.pop(property_id, None)
        if calendar is not None:
            self._order = None
        if calendar is not None and calendar.shown is not None:
            self._of_agency[calendar.shown.agency_id].pop(property_id, None)

    def distrust(self, property_id: UUID) -> None:
        """A record about this property could not be read: what it changed is asked of booking."""
        if property_id in self._calendars:
            self._put(property_id, self._calendars[property_id].distrusted())
        self.want(property_id)

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
        calendar = self._calendars.get(property_id)
        return calendar.heard if calendar is not None else 0

    def apply_ledger(self, answer: PropertyState, heard_before: int) -> CalendarState:
        """Booking answered a whole state; returns it. Raises `ZonelessInstant`."""
        state = state_of(answer.state)
        property_id = answer.state.property_id
        self._put(property_id, self._calendar(property_id).with_state(state, heard_before))
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

    # What may be answered.

    def known(self, property_id: UUID) -> CalendarState | None:
        """What was last shown of a property, fresh or not; None for an unknown one."""
        calendar = self._calendars.get(property_id)
        return calendar.shown if calendar is not None else None

    def of_agency(self, agency_id: UUID) -> tuple[UUID, ...]:
        """The properties of an agency that were ever shown, in the order they were."""
        return tuple(self._of_agency.get(agency_id, ()))

    def view(self, property_id: UUID) -> View | None:
        """What memory may answer of a property now; None when it is unknown, parked, or memory is not complete."""
        calendar = self._calendars.get(property_id)
        if calendar is None or calendar.shown is None or calendar.is_parked:
            return None
        if not self.is_caught_up or calendar.partition in self._losses:
            return None
        monotonic_s = time.monotonic()
        lag_ms = self._watermarks.lag_ms(calendar.partition, monotonic_s)
        now = self._watermarks.database_now(monotonic_s)
        if lag_ms is None or now is None:
            return None
        return View(calendar.shown, self._watermarks.as_of[calendar.partition], lag_ms, now)

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

    def trusted(self, cursor: UUID | None) -> Iterator[tuple[UUID, CalendarState]]:
        """Every property that is not parked nor gone, in id order, beyond `cursor`; state as of each step."""
        if self._order is None:
            self._order = sorted(self._calendars, key=_AS_NUMBER)
        order = self._order
        start = bisect_right(order, cursor) if cursor is not None else 0
        for property_id in order[start:]:
            calendar = self._calendars.get(property_id)
            if calendar is None or calendar.shown is None or calendar.is_parked or calendar.shown.is_gone:
                continue
            yield property_id, calendar.shown

    def partition(self, property_id: UUID) -> int:
        """The partition a property's records are on."""
        return partition_of(str(property_id), self._partitions)

    def partition_members(self, partitions: Collection[int]) -> list[UUID]:
        """The properties of these partitions."""
        return [key for key, calendar in self._calendars.items() if calendar.partition in partitions]

    def database_now(self) -> datetime | None:
        """The database's clock as estimated now; None before the first watermark."""
        return self._watermarks.database_now(time.monotonic())

    def missing(self) -> str | None:
        """What must still happen before this replica is ready; None once it was, whatever happens later."""
        if not self._was_ready:
            unmarked = [number for number in range(self._partitions) if number not in self._watermarks.as_of]
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
        now = self.database_now()
        if now is None:
            return
        day = now.date() - timedelta(days=WINDOW_DAYS_BEFORE_TODAY + KEEP_DAYS)
        for count, property_id in enumerate(list(self._calendars)):
            if count % SLICE == 0:
                await asyncio.sleep(0)
            if (calendar := self._calendars.get(property_id)) is not None:
                self._calendars[property_id] = calendar.without_past(day)

    def _calendar(self, property_id: UUID) -> PropertyCalendar:
        known = self._calendars.get(property_id)
        return known if known is not None else PropertyCalendar(self.partition(property_id))

    def _put(self, property_id: UUID, calendar: PropertyCalendar) -> None:
        if property_id not in self._calendars:
            self._order = None
        self._calendars[property_id] = calendar
        if calendar.shown is not None:
            self._of_agency[calendar.shown.agency_id][property_id] = None
        if calendar.is_parked:
            self.want(property_id)
        for version, waiter in self._waiters.get(property_id, ()):
            if calendar.shown is not None and calendar.shown.version >= version and not waiter.done():
                waiter.set_result(None)

    def want(self, property_id: UUID) -> None:
        """Have the property fetched from booking."""
        self.wanted[property_id] = None
        self.something_wanted.set()
