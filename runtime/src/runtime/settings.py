"""Reading a service's environment once, with errors that name the variable; used by every service's `settings`."""

from typing import TypeVar

import click
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(click.ClickException):
    """The environment is not complete; the message names each variable and what to do. Ends a command with 2."""

    exit_code = 2


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, extra="ignore")


class ServiceSettings(_Settings):
    """What every service needs. Environment variables are the upper-case field names."""

    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)
    jwt_secret: SecretStr = Field(min_length=32)
    log_level: str = "INFO"


class KafkaSettings(_Settings):
    """Where Kafka is. `kafka_partitions` must equal the partition count the topics were created with."""

    kafka_bootstrap_servers: str
    kafka_partitions: int = Field(default=6, ge=1, le=1000)
    kafka_replication_factor: int = Field(default=1, ge=1, le=5)


class PostgresSettings(_Settings):
    """Three roles of one database: the application's, the cross-agency workers', and the migrations' owner."""

    database_url: SecretStr
    system_database_url: SecretStr
    owner_database_url: SecretStr | None = None
    database_pool_size: int = Field(default=10, ge=1, le=100)


SettingsType = TypeVar("SettingsType", bound=BaseSettings)


def load(settings_class: type[SettingsType]) -> SettingsType:
    """Read the settings; raises `SettingsError` naming every variable that is missing or wrong."""
    try:
        return settings_class()
    except ValidationError as error:
        lines = [f"{str(item['loc'][0]).upper()}: {item['msg']}" for item in error.errors(include_input=False)]
        raise SettingsError("Set these environment variables:\n  " + "\n  ".join(lines)) from None
