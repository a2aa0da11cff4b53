"""The command line of every service: `serve`, its roles one by one, `migrate`, `topics`, and its own commands."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import click
import uvicorn
from fastapi import FastAPI

from contracts.topics import Topic
from runtime.kafka import create_topics
from runtime.logs import configure_logs
from runtime.migrate import FLOOR, MigrationRefused, MigrationState, migrate, read_migrations
from runtime.settings import KafkaSettings, PostgresSettings, ServiceSettings, SettingsError, load
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
    commands: Sequence[click.Command] = field(default_factory=tuple)


def command_line(service: Service[SettingsType]) -> click.Group:
    """The click group of one service; `__main__` calls it."""
    group = click.Group(service.name, help=f"Commands of the {service.name} service.")
    group.add_command(_serving("serve", service, frozenset(service.roles), "Run every role in one process."))
    for role in service.roles:
        group.add_command(_serving(role, service, frozenset({role}), f"Run the role {role} alone."))
    if service.migrations is not None:
        group.add_command(_migrate_command(service.name, service.migrations))
    if service.topics:
        group.add_command(_topics_command(service.topics))
    for command in service.commands:
        group.add_command(command)
    return group


def _serving(name: str, service: Service[SettingsType], roles: frozenset[str], text: str) -> click.Command:
    @click.command(name, help=text)
    def serve() -> None:
        settings = _load(service.settings)
        configure_logs(service.name, settings.log_level)
        configure_telemetry(service.name)
        uvicorn.run(
            service.build(settings, roles),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            loop="uvloop",
            http="httptools",
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
        settings = _load(PostgresSettings)
        if settings.owner_database_url is None:
            raise click.ClickException("Set OWNER_DATABASE_URL: migrations run as the owner of the database.")
        names = {
            "app": _role(settings.database_url.get_secret_value()),
            "system": _role(settings.system_database_url.get_secret_value()),
        }
        files = [*read_migrations("floor", FLOOR, names), *read_migrations(name, folder, names)]
        try:
            states = asyncio.run(
                migrate(settings.owner_database_url.get_secret_value(), files, dry_run=dry_run or status)
            )
        except MigrationRefused as error:
            raise click.ClickException(str(error)) from error
        for state in states:
            click.echo(_state_line(state, dry_run, status))

    return run


def _state_line(state: MigrationState, dry_run: bool, status: bool) -> str:
    name = f"{state.migration.set_name} {state.migration.version}_{state.migration.name}"
    if state.applied:
        return f"{name}: applied before"
    return f"{name}: {'pending' if status else 'would be applied' if dry_run else 'applied'}"


def _topics_command(topics: tuple[Topic, ...]) -> click.Command:
    @click.command("topics", help="Create the missing Kafka topics of this service.")
    def run() -> None:
        created = asyncio.run(create_topics(_load(KafkaSettings), topics))
        click.echo(f"{len(created)} created, {len(topics) - len(created)} existed")

    return run


def _role(dsn: str) -> str:
    return '"' + (urlsplit(dsn).username or "").replace('"', '""') + '"'


_Loaded = TypeVar("_Loaded", bound=ServiceSettings | KafkaSettings | PostgresSettings)


def _load(settings: type[_Loaded]) -> _Loaded:
    try:
        return load(settings)
    except SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
