"""The command line of every service: `serve`, its roles one by one, `migrate`, `topics`, and its own commands."""

import asyncio
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import click
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from contracts.topics import Topic
from runtime.kafka import create_topics
from runtime.logs import configure_logs
from runtime.migrate import FLOOR, migrate, read_migrations
from runtime.protocol import HttpProtocol
from runtime.settings import KafkaSettings, PostgresSettings, ServiceSettings, load
from runtime.telemetry import configure_telemetry

SettingsType = TypeVar("SettingsType", bound=ServiceSettings)

DRAIN_S = 10


@dataclass(frozen=True)
class Service(Generic[SettingsType]):
    """What the command line needs to know of a service.

    `build` makes the HTTP application with the given roles running inside it; a role without `api` serves health only.
    """

    name: str
    roles: tuple[str, ...]
    settings: type[SettingsType]
    build: Callable[[SettingsType, frozenset[str]], FastAPI]
    migrations: Path | None = None
    topics: tuple[Topic, ...] = ()
    commands: Sequence[click.Command] = ()


def command_line(service: Service[SettingsType]) -> click.Group:
    """The click group of one service; `__main__` calls it."""
    roles = {"serve": service.roles, **{role: (role,) for role in service.roles}}
    commands = [_serving(name, service, own) for name, own in roles.items()]
    if service.migrations is not None:
        commands.append(_migrate_command(service.name, service.migrations))
    if service.topics:
        commands.append(_topics_command(service.topics))
    return click.Group(service.name, commands=[*commands, *service.commands], help=f"Commands of {service.name}.")


def _serving(name: str, service: Service[SettingsType], roles: tuple[str, ...]) -> click.Command:
    @click.command(name, help=f"Run in one process: {', '.join(roles)}.")
    def serve() -> None:
        settings = load(service.settings)
        configure_logs(service.name, settings.log_level)
        configure_telemetry(service.name)
        app = service.build(settings, frozenset(roles))
        # What start-up made stays: without this every full collection walks it, an eighth of a busy server's time.
        gc.freeze()
        uvicorn.run(
            app,
            http=HttpProtocol,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=DRAIN_S,
            timeout_keep_alive=75,
            server_header=False,
        )

    return serve


def _migrate_command(name: str, folder: Path) -> click.Command:
    @click.command("migrate", help="Apply the migrations that are missing.")
    @click.option("--dry-run", is_flag=True, help="Say what would be applied; change nothing.")
    @click.option("--status", is_flag=True, help="Say of each migration whether it is applied; change nothing.")
    def run(dry_run: bool, status: bool) -> None:
        settings = load(PostgresSettings)
        if settings.owner_database_url is None:
            raise click.ClickException("Set OWNER_DATABASE_URL: migrations run as the owner of the database.")
        names = {"app": _role(settings.database_url), "system": _role(settings.system_database_url)}
        files = [*read_migrations("floor", FLOOR, names), *read_migrations(name, folder, names)]
        owner = settings.owner_database_url.get_secret_value()
        missing = "pending" if status else "would be applied" if dry_run else "applied"
        for file in asyncio.run(migrate(owner, files, dry_run=dry_run or status)):
            click.echo(f"{file}: {'applied before' if file.applied else missing}")

    return run


def _topics_command(topics: tuple[Topic, ...]) -> click.Command:
    @click.command("topics", help="Create the missing Kafka topics of this service.")
    def run() -> None:
        created = asyncio.run(create_topics(load(KafkaSettings), topics))
        click.echo(f"{len(created)} created, {len(topics) - len(created)} existed")

    return run


def _role(dsn: SecretStr) -> str:
    return '"' + (urlsplit(dsn.get_secret_value()).username or "").replace('"', '""') + '"'
