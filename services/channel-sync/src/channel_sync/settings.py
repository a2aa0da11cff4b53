"""Owns channel-sync's environment variables, upper-case field names; read once by `runtime.cli`, used by main."""

from cryptography.fernet import Fernet
from pydantic import Field, SecretStr, field_validator

from runtime.settings import KafkaSettings, PostgresSettings, ServiceSettings


class ChannelSyncSettings(ServiceSettings, KafkaSettings, PostgresSettings):
    """What channel-sync needs. With `channel_manager_enabled` false no OTA work is done and its routes answer 503."""

    booking_url: str
    public_url: str = Field(description="The gateway's address as channels reach it.")
    credentials_key: SecretStr = Field(description="A Fernet key: 32 bytes as URL-safe base64.")
    channel_manager_enabled: bool = True
    horizon_days: int = Field(default=365, ge=1, le=730)
    push_timeout_s: float = Field(default=5.0, gt=0, le=60)
    push_settle_s: float = Field(
        default=10.0, ge=0, le=600, description="How long a channel may still act on a request we gave up waiting for."
    )
    push_concurrency: int = Field(default=20, ge=1, le=200)
    booking_timeout_s: float = Field(default=2.0, gt=0, le=30)

    @field_validator("credentials_key")
    @classmethod
    def _is_fernet_key(cls, value: SecretStr) -> SecretStr:
        try:
            Fernet(value.get_secret_value())
        except ValueError as error:
            raise ValueError("must be a Fernet key: 32 random bytes as URL-safe base64") from error
        return value
