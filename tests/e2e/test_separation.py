"""Proves that the services are apart: processes, databases, and that each looks at the caller's token itself."""

from __future__ import annotations

import uuid

import asyncpg
import psutil
import pytest

from deploy.local.journey_client import Api, agency_token
from deploy.local.journey_scene import Scene
from deploy.local.ports import HOST
from deploy.local.provision import in_database
from deploy.local.services import AVAILABILITY, BOOKING, CHANNEL_SYNC, GATEWAY, SERVICES
from runtime.tokens import issue_token
from tests.e2e.infra.running import Running, days

pytestmark = pytest.mark.e2e

STAY = days(0, 3)


def test_the_four_services_are_separate_processes_each_listening_on_its_own_port(running: Running) -> None:
    processes = {service: psutil.Process(running.supervisor.pid(service)) for service in SERVICES}
    assert len({process.pid for process in processes.values()}) == 4
    for service, process in processes.items():
        assert service.replace("-", "_") in process.cmdline()
        listening = {
            (found.laddr.ip, found.laddr.port)
            for found in process.net_connections("tcp")
            if found.status == psutil.CONN_LISTEN
        }
        assert listening == {(HOST, running.suite.ports.of(service))}


async def test_no_database_role_can_connect_to_the_other_services_database(running: Running) -> None:
    databases = running.suite.databases
    own = {"pms_booking": vars(databases.booking), "pms_channel_sync": vars(databases.channel_sync)}
    for name, urls in own.items():
        (other,) = own.keys() - {name}
        for role, url in urls.items():
            await (await asyncpg.connect(url)).close()
            with pytest.raises(asyncpg.PostgresError) as refusal:
                await asyncpg.connect(in_database(url, other))
            assert refusal.value.sqlstate == "42501", f"{role} of {name} at {other}"


async def direct_paths(scene: Scene) -> dict[str, tuple[str, dict[str, str]]]:
    """What each service serves of the scene when it is called past the gateway: path and query."""
    booking = (await scene.agency.book(scene.property_id, STAY)).expect(201)
    window = {"property_id": scene.property_id, "from_date": str(STAY[0]), "to_date": str(STAY[1])}
    return {
        BOOKING: (f"/bookings/{booking['id']}", {}),
        AVAILABILITY: ("/availability", window),
        CHANNEL_SYNC: (f"/channel-connections/{scene.connection_id}", {}),
        GATEWAY: (f"/api/v1/properties/{scene.property_id}", {}),
    }


async def test_a_service_called_directly_answers_its_agency_and_401_without_a_token_and_404_to_another_agency(
    running: Running, scene: Scene
) -> None:
    secret = running.suite.secrets.jwt_secret
    tokens = {
        200: lambda: agency_token(secret, scene.agency.id),
        401: lambda: None,
        404: lambda: agency_token(secret, str(uuid.uuid4())),
    }
    for service, (path, params) in (await direct_paths(scene)).items():
        for status, token in tokens.items():
            async with Api(running.suite.url(service), token) as api:
                reply = await api.request("GET", path, params=params)
            assert reply.status == status, f"{service} {path}: {reply.content!r}"
            if status != 200:
                assert reply.headers["Content-Type"] == "application/problem+json"


async def test_a_token_signed_with_another_secret_is_refused_by_every_service(running: Running, scene: Scene) -> None:
    forged = issue_token(
        "another secret of at least 32 bytes", subject="x", agency_id=uuid.UUID(scene.agency.id), roles=()
    )
    for service, (path, params) in (await direct_paths(scene)).items():
        async with Api(running.suite.url(service), lambda: forged) as api:
            assert (await api.request("GET", path, params=params)).status == 401, service


async def test_internal_routes_refuse_an_agencys_token_and_the_gateway_does_not_lead_to_them(
    running: Running, scene: Scene
) -> None:
    path = f"/internal/properties/{scene.property_id}/state"
    async with running.agency(scene.agency.id, at=running.suite.url(BOOKING)) as agency:
        assert (await agency.request("GET", path)).status == 403
    async with running.service_api(running.suite.url(BOOKING)) as service:
        assert (await service.request("GET", path)).status == 200
    for base in (running.suite.url(GATEWAY), f"{running.suite.url(GATEWAY)}/api/v1"):
        async with running.service_api(base) as service:
            assert (await service.request("GET", path)).status == 404


def test_each_services_own_commands_find_their_databases_and_topics_ready(running: Running) -> None:
    """What production runs before a service starts; here it was done before without these processes."""
    commands = [
        running.suite.command(BOOKING, "migrate", "--status"),
        running.suite.command(CHANNEL_SYNC, "migrate"),
        running.suite.command(AVAILABILITY, "topics"),
    ]
    running.supervisor.run_all(commands)
    said = {spec.name: (running.supervisor.run_dir / "logs" / f"{spec.name}.log").read_text() for spec in commands}
    assert "booking 0001_ledger: applied before" in said["booking-migrate"]
    assert "pending" not in said["booking-migrate"]
    assert "channel-sync 0001_channels: applied before" in said["channel-sync-migrate"]
    assert "0 created" in said["availability-topics"]
