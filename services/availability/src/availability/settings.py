"""The environment of this service, read once; `main` wires by it."""

from pathlib import Path

from pydantic import Field

from runtime.settings import KafkaSettings, ServiceSettings


class AvailabilitySettings(ServiceSettings, KafkaSettings):
    """Where booking is, when one-property answers come from it, the snapshot file, and the pace of repairs.

    Booking is asked from a lag of `max_cache_lag_ms` on, and when a version that was asked for does not come to memory
    within `version_wait_ms`. The file at `snapshot_path` is written every `snapshot_interval_s` and at the end; without
    a path each start reads the topics.

    At most `resyncs_per_s` properties are read from booking to repair memory: it bounds what a cold replica costs, and
    how long it takes. Anti-entropy compares `digests_per_s` properties a second, which costs about a tenth of a core
    at fifty ranges each, and more in PostgreSQL: a round through 20,000 takes 27 seconds, and more properties take
    longer in proportion. A round takes `digest_round_s` at the least.
    """

    booking_url: str = Field(pattern=r"^https?://")
    max_cache_lag_ms: int = Field(default=10_000, ge=1)
    version_wait_ms: int = Field(default=50, ge=0, le=10_000)
    snapshot_path: Path | None = None
    snapshot_interval_s: float = Field(default=300.0, gt=0)
    resyncs_per_s: int = Field(default=50, ge=1)
    digests_per_s: float = Field(default=750.0, gt=0)
    digest_round_s: float = Field(default=10.0, gt=0)
