"""The gateway's environment variables, read once by `runtime.cli` and handed to `main`."""

import re

from pydantic import AnyHttpUrl, Field, field_validator

from runtime.settings import ServiceSettings

_ORIGIN = re.compile(r"\*|https?://[^/\s,]+")


class GatewaySettings(ServiceSettings):
    """Where the services are and who may call from a browser.

    `allowed_origins`: comma-separated origins such as `https://console.example`, or `*`; empty allows none.
    `request_timeout_s` bounds a whole request, its body and the service's answer included.
    """

    port: int = Field(default=8080, ge=1, le=65535)
    booking_url: AnyHttpUrl
    availability_url: AnyHttpUrl
    channel_sync_url: AnyHttpUrl
    allowed_origins: str = ""
    request_timeout_s: float = Field(default=10.0, gt=0, le=60)

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for origin in _split(value):
            if _ORIGIN.fullmatch(origin) is None:
                raise ValueError(f"{origin!r} is not an origin such as https://console.example")
        return value

    @property
    def origins(self) -> tuple[str, ...]:
        """The allowed origins one by one."""
        return _split(self.allowed_origins)


def _split(value: str) -> tuple[str, ...]:
    return tuple(origin.strip() for origin in value.split(",") if origin.strip())
