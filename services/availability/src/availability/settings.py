"""The environment of this service, read once; `main` wires by it."""

from pydantic import Field

from runtime.settings import KafkaSettings, ServiceSettings


class AvailabilitySettings(ServiceSettings, KafkaSettings):
    """Where booking is, and when one-property answers come from it rather than from memory.

    That is from a lag of `max_cache_lag_ms` on, and when a version that was asked for does not come to memory within
    `version_wait_ms`.
    """

    booking_url: str = Field(pattern=r"^https?://")
    max_cache_lag_ms: int = Field(default=10_000, ge=1)
    version_wait_ms: int = Field(default=50, ge=0, le=10_000)
