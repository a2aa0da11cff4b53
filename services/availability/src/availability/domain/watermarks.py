"""How fresh the cache is, from watermarks and a monotonic clock alone; called by the cache.

A watermark says: at this database time booking had nothing older unsent on this partition. The largest difference
between a watermark and the monotonic clock at its receipt belongs to the fastest delivery, so "monotonic now + that
difference" estimates the database's clock (late by the fastest delivery) without asking any wall clock of ours.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

BUCKET_S = 60.0
# The last hour in which watermarks arrived. Silence does not count: after two hours without Kafka the first old records
# would otherwise be the only ones to judge by, and a replica that catches up would look fresh.
BUCKETS = 60


@dataclass(frozen=True, slots=True)
class Watermarks:
    """The largest watermark of each partition, and per minute the largest `database time - monotonic` in seconds.

    `held_back` are the properties the largest watermark says nothing of, by partition.
    """

    as_of: Mapping[int, datetime] = field(default_factory=dict)
    held_back: Mapping[int, frozenset[UUID]] = field(default_factory=dict)
    ahead_s: tuple[tuple[int, float], ...] = ()

    def seen(
        self, partition: int, database_time: datetime, monotonic_s: float, held_back: Collection[UUID] = ()
    ) -> "Watermarks":
        """After a watermark (an aware instant) that was received at `monotonic_s`."""
        known, told = self.as_of.get(partition), self.told(database_time, monotonic_s)
        if known is not None and known >= database_time:
            return told
        as_of = {**self.as_of, partition: database_time}
        return replace(told, as_of=as_of, held_back={**self.held_back, partition: frozenset(held_back)})

    def holds_back(self, partition: int, property_id: UUID) -> bool:
        """True when the partition's watermark says nothing of this property."""
        return property_id in self.held_back.get(partition, ())

    def told(self, database_time: datetime, monotonic_s: float) -> "Watermarks":
        """After any word of the database's clock, received at `monotonic_s`; says nothing about a partition.

        Booking's answers bring it, too: a replica that started while no relay runs has old watermarks only, and would
        believe that little time went by since.
        """
        bucket, ahead = int(monotonic_s // BUCKET_S), database_time.timestamp() - monotonic_s
        if not self.ahead_s or self.ahead_s[-1][0] != bucket:
            return replace(self, ahead_s=(*self.ahead_s, (bucket, ahead))[-BUCKETS:])
        if ahead <= self.ahead_s[-1][1]:
            return self
        return replace(self, ahead_s=(*self.ahead_s[:-1], (bucket, ahead)))

    def database_now(self, monotonic_s: float) -> datetime | None:
        """The database's clock as estimated at `monotonic_s`; None before the first watermark."""
        if not self.ahead_s:
            return None
        return datetime.fromtimestamp(monotonic_s + max(ahead for _, ahead in self.ahead_s), UTC)

    def lag_ms(self, partition: int, monotonic_s: float) -> int | None:
        """How far a partition's state may be behind the database, in ms; None before its first watermark."""
        now = self.database_now(monotonic_s)
        as_of = self.as_of.get(partition)
        if now is None or as_of is None:
            return None
        return max(0, round((now - as_of).total_seconds() * 1000))
