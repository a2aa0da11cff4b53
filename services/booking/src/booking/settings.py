"""Booking's environment, read once by `main`."""

from pydantic import Field

from runtime.settings import KafkaSettings, PostgresSettings, ServiceSettings


class Settings(ServiceSettings, KafkaSettings, PostgresSettings):
    """Everything booking needs to know from outside."""

    pending_ttl_s: int = Field(default=1800, ge=1, description="How long a pending reservation keeps its nights.")
    snapshot_interval_s: float = Field(default=2.0, gt=0, description="How often changed properties are published.")
    booking_group_size: int = Field(
        default=32, ge=1, le=256, description="The most bookings of one database call; 1: each has its own."
    )
