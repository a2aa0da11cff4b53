"""Proves the command line every service has: its roles, and refusals an operator can act on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import click
import pytest
from click.testing import CliRunner
from fastapi import FastAPI

from runtime.cli import Service, command_line
from runtime.http import create_app
from runtime.kafka import create_topics
from runtime.settings import KafkaSettings, ServiceSettings
from tests.runtime.conftest import topic_named


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield


def build(settings: ServiceSettings, roles: frozenset[str]) -> FastAPI:
    return create_app(
        ",".join(sorted(roles)),
        jwt_secret=settings.jwt_secret.get_secret_value(),
        lifespan=lifespan,
        routers=[],
        readiness={},
    )


def service(**changes: object) -> Service[ServiceSettings]:
    return Service(name="tests", roles=("api", "worker"), settings=ServiceSettings, build=build, **changes)  # type: ignore[arg-type]


def test_a_service_has_the_commands_of_what_it_has() -> None:
    own = click.Command("own")
    assert set(command_line(service()).commands) == {"serve", "api", "worker"}
    everything = service(migrations=Path(), topics=(topic_named("a"),), commands=(own,))
    assert set(command_line(everything).commands) == {"serve", "api", "worker", "migrate", "topics", "own"}


@pytest.mark.parametrize(("command", "roles"), [("serve", "api,worker"), ("worker", "worker")])
def test_a_command_serves_its_roles(monkeypatch: pytest.MonkeyPatch, command: str, roles: str) -> None:
    served: list[FastAPI] = []
    monkeypatch.setattr("runtime.cli.uvicorn.run", lambda app, **_: served.append(app))
    monkeypatch.setattr("runtime.cli.configure_logs", lambda *_: None)
    monkeypatch.setattr("runtime.cli.configure_telemetry", lambda *_: None)
    result = CliRunner().invoke(command_line(service()), [command], env={"PORT": "8081", "JWT_SECRET": "x" * 32})
    assert result.exit_code == 0, result.output
    assert [app.title for app in served] == [roles]


@pytest.mark.parametrize("secret", [None, "", "short"])
def test_without_a_proper_secret_nothing_starts(secret: str | None) -> None:
    result = CliRunner().invoke(command_line(service()), ["serve"], env={"PORT": "8081", "JWT_SECRET": secret})
    assert result.exit_code == 2
    assert "JWT_SECRET" in result.output
    assert "Traceback" not in result.output


def test_migrations_need_the_owners_address() -> None:
    env = {"DATABASE_URL": "a", "SYSTEM_DATABASE_URL": "b", "OWNER_DATABASE_URL": None}
    result = CliRunner().invoke(command_line(service(migrations=Path())), ["migrate"], env=env)
    assert result.exit_code == 1
    assert "OWNER_DATABASE_URL" in result.output


@pytest.mark.stack
async def test_topics_are_created_by_command_and_said(kafka_settings: KafkaSettings) -> None:
    topics = tuple(topic_named(f"runtime.{uuid4().hex[:8]}.v1") for _ in range(2))
    await create_topics(kafka_settings, topics[:1])
    env = {"KAFKA_BOOTSTRAP_SERVERS": kafka_settings.kafka_bootstrap_servers, "KAFKA_PARTITIONS": "6"}
    result = await asyncio.to_thread(CliRunner().invoke, command_line(service(topics=topics)), ["topics"], env=env)
    assert (result.exit_code, result.output) == (0, "1 created, 1 existed\n")
