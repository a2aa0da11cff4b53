"""Owns channel-sync's environment variables, upper-case field names; read once by `runtime.cli`, used by main."""

from typing import Annotated

from cryptography.fernet import Fernet
from pydantic import AfterValidator, Field, SecretStr

from runtime.settings import KafkaSettings, PostgresSettings, ServiceSettings


def _are_fernet_keys(value: SecretStr) -> SecretStr:
    try:
        for key in value.get_secret_value().split(","):
            Fernet(key.strip())
    except ValueError as error:
        raise ValueError("must be Fernet keys, 32 random bytes as URL-safe base64 each, separated by commas") from error
    return value


CredentialsKey = Annotated[
    SecretStr,
    AfterValidator(_are_fernet_keys),
    Field(description="Fernet keys, separated by commas: the first one seals, each of them opens."),
]


class ChannelSyncSettings(ServiceSettings, KafkaSettings, PostgresSettings):
    """What channel-sync needs. With `channel_manager_enabled` false no OTA work is done and its routes answer 503."""

    booking_url: str
    public_url: str = Field(description="The gateway's address as channels reach it.")
    credentials_key: CredentialsKey
    channel_manager_enabled: bool = True
    horizon_days: int = Field(default=500, ge=1, le=730)
    allow_private_channels: bool = Field(
        default=False, description="Development alone: channels on this machine or in a private network may be called."
    )
    push_timeout_s: float = Field(default=5.0, gt=0, le=60)
    push_settle_s: float = Field(
        default=10.0, ge=0, le=600, description="How long a channel may still act on a request we gave up waiting for."
    )
    push_concurrency: int = Field(default=20, ge=1, le=200, description="Channels that are told something at once.")
    push_gather_s: float = Field(
        default=0.1, ge=0, le=60, description="Changes of a listing within so many seconds after a push are one push."
    )
    push_lease_s: float = Field(default=20.0, ge=5, le=600, description="How long one push of many listings may take.")
    push_batch_window_s: float = Field(
        default=10.0, ge=0, le=3600, description="Pushes of a connection within so many seconds are one batch."
    )
    feed_poll_s: float = Field(
        default=60.0, gt=0, le=3600, description="How often a channel is asked for its revisions."
    )
    calendar_poll_s: float = Field(default=300.0, gt=0, le=86_400, description="How often a calendar is read.")
    calendar_grace_s: float = Field(
        default=7200.0, ge=0, le=604_800, description="How long an event may be missing before its nights are opened."
    )
    push_listings_at_once: int = Field(default=50, ge=1, le=500)
    breaker_failures: int = Field(
        default=5, ge=1, le=1000, description="Failed calls in a row after which a channel is left alone."
    )
    breaker_s: float = Field(default=30.0, gt=0, le=3600, description="How long it is left alone.")
    booking_timeout_s: float = Field(default=2.0, gt=0, le=30)
