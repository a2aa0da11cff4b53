"""The environment of this service, read once; `main` wires by it."""

from pydantic import Field

from runtime.settings import KafkaSettings, ServiceSettings


class AvailabilitySettings(ServiceSettings, KafkaSettings):
    """Where booking is, and from which lag on (ms) one-property answers come from it rather than from memory."""

    booking_url: str = Field(pattern=r"^https?://")
    max_cache_lag_ms: int = Field(default=10_000, ge=1)
