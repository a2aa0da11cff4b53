"""Owns the stage of the cache proofs: a real booking on a PostgreSQL and a Kafka of its own, and replicas to ask.

Booking writes to one Kafka; `second_kafka` is another one that replicas may read instead, behind whatever lies between.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg

from contracts.topics import owned_by
from deploy.local import kafka, postgres
from deploy.local.jars import class_path
from deploy.local.journey_client import Agency, Api
from deploy.local.places import CACHE_DIR, remove_run_dir
from deploy.local.ports import HOST, free_port
from deploy.local.prepare import migrate_database
from deploy.local.provision import in_database, provision
from deploy.local.secrets_file import load_secrets
from deploy.local.services import AVAILABILITY, BOOKING, CHANNEL_SYNC, Ports, Suite
from deploy.local.supervisor import ProcessSpec, Supervisor, child_environment
from runtime.kafka import create_topics
from runtime.settings import KafkaSettings
from runtime.tokens import issue_service_token
from tests.conftest import new_run_dir
from tests.e2e.infra.topic_reader import TopicReader

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Pool = asyncpg.Pool

# Ten times as much in `make prove`.
SCALE = int(os.environ.get("PMS_CACHE_SCALE", "1"))
PARTITIONS = 2
REPLICAS = (AVAILABILITY, "availability-2")
SECOND_KAFKA = "kafka-2"
COMMAND_TIMEOUT_S = 60


@dataclass(frozen=True)
class OneReplica:
    """One availability process: its name at the supervisor and its base address."""

    name: str
    url: str


@dataclass
class Stage:
    """Booking and its caches. `ledger` is an administrator's pool on booking's database.

    `proxied_port` is where Kafka tells clients of its second listener to come: a proxy listens there, or nobody does.
    """

    supervisor: Supervisor
    suite: Suite
    ledger: Pool
    proxied_bootstrap: str
    proxied_port: int
    replicas: list[OneReplica] = field(default_factory=list)

    @property
    def topics(self) -> TopicReader:
        """Booking's topics, read from outside."""
        return TopicReader(self.suite.kafka_bootstrap, PARTITIONS)

    @property
    def booking_url(self) -> str:
        """Where booking answers."""
        return self.suite.url(BOOKING)

    def agency(self, url: str, agency_id: str | None = None) -> Agency:
        """A client of an agency, a new one unless its id is given, at one process; enter it."""
        return Agency(url, self.suite.secrets.jwt_secret, agency_id)

    def service(self, url: str) -> Api:
        """A client that asks one process as another service would; enter it."""
        return Api(url, lambda: issue_service_token(self.suite.secrets.jwt_secret, "proofs"))

    def spec(self, name: str, **env: str) -> ProcessSpec:
        """How to run one more replica; `env` goes before what it would get."""
        return self.suite.process(AVAILABILITY, name=name, port=free_port(), env=env)

    @asynccontextmanager
    async def replica(self, name: str, **env: str) -> AsyncIterator[OneReplica]:
        """One more replica for a while, ready."""
        async with self.running(self.spec(name, **env)) as started:
            yield started

    @asynccontextmanager
    async def running(self, spec: ProcessSpec) -> AsyncIterator[OneReplica]:
        """A replica that runs as `spec` says for a while, ready."""
        await asyncio.to_thread(self.supervisor.start, spec)
        try:
            yield OneReplica(spec.name, f"http://{HOST}:{spec.env['PORT']}")
        finally:
            await asyncio.to_thread(self.supervisor.stop, spec.name)

    async def kill(self, name: str) -> None:
        """`kill -9`; returns when it is gone."""
        await asyncio.to_thread(self.supervisor.kill, name)

    async def restart(self, name: str) -> None:
        """Start again what was started before, on the same port; returns when it is ready."""
        await asyncio.to_thread(self.supervisor.restart, name)

    async def command(self, *arguments: str) -> str:
        """Run a command of booking to its end, as an operator would; what it printed."""
        spec = self.suite.command(BOOKING, *arguments)
        done = await asyncio.to_thread(
            subprocess.run,
            spec.argv,
            env=child_environment(spec.env),
            cwd=self.supervisor.run_dir,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def log_of(self, name: str) -> str:
        """What a process of that name has written so far."""
        return self.supervisor.log_path(name).read_text(errors="replace")


@asynccontextmanager
async def started_stage() -> AsyncIterator[Stage]:
    """Start everything, with two replicas; everything is stopped at the end."""
    supervisor = Supervisor(new_run_dir())
    supervisor.open()
    try:
        async with AsyncExitStack() as closing:
            yield await _start(supervisor, closing)
    finally:
        await asyncio.to_thread(supervisor.close)
        remove_run_dir(supervisor.run_dir)


async def _start(supervisor: Supervisor, closing: AsyncExitStack) -> Stage:
    secrets = load_secrets(supervisor.run_dir)
    port, postgres_port, via_port, proxied_port = (free_port() for _ in range(4))
    jars = await asyncio.to_thread(class_path, CACHE_DIR)

    def start_postgres() -> None:
        supervisor.start(postgres.prepare(supervisor.run_dir, postgres_port, secrets.postgres_password))

    def start_kafka() -> None:
        spec = kafka.prepare(supervisor.run_dir, port, free_port(), jars)
        _listen_behind_a_proxy(spec, port, via_port, proxied_port)
        supervisor.start(spec)

    await asyncio.gather(asyncio.to_thread(start_postgres), asyncio.to_thread(start_kafka))
    admin = f"postgresql://{postgres.SUPERUSER}:{secrets.postgres_password}@{HOST}:{postgres_port}/postgres"
    databases = await provision(admin, secrets, exclusive=True)
    suite = Suite(f"{HOST}:{port}", databases, secrets, Ports.free(), kafka_partitions=PARTITIONS)
    await migrate_database(BOOKING, databases.booking)
    await create_cache_topics(suite.kafka_bootstrap)
    ledger = await closing.enter_async_context(asyncpg.create_pool(in_database(admin, "pms_booking"), min_size=1))
    stage = Stage(supervisor, suite, ledger, f"{HOST}:{via_port}", proxied_port)
    specs = [stage.suite.process(BOOKING), *(stage.spec(name, DIGEST_ROUND_S="2") for name in REPLICAS)]
    for spec in specs:
        await asyncio.to_thread(supervisor.start, spec, wait=False)
    await asyncio.to_thread(supervisor.wait_ready, *(spec.name for spec in specs))
    stage.replicas = [OneReplica(spec.name, f"http://{HOST}:{spec.env['PORT']}") for spec in specs[1:]]
    return stage


def _listen_behind_a_proxy(spec: ProcessSpec, port: int, via_port: int, proxied_port: int) -> None:
    """Give Kafka a second listener, which tells its clients to come to `proxied_port`.

    A client stays behind the proxy only if every address it is told of is the proxy's.
    """
    properties = spec.argv[-1]
    with open(properties) as file:  # noqa: PTH123 - a name, not a path
        lines = dict(line.rstrip("\n").split("=", 1) for line in file)
    lines["listeners"] += f",VIA://{HOST}:{via_port}"
    lines["advertised.listeners"] += f",VIA://{HOST}:{proxied_port}"
    lines["listener.security.protocol.map"] = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,VIA:PLAINTEXT"
    # A node that was killed is let in again once its session has ended: 9 s by default.
    lines |= {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
    with open(properties, "w") as file:  # noqa: PTH123
        file.writelines(f"{name}={value}\n" for name, value in lines.items())


async def create_cache_topics(bootstrap_servers: str) -> None:
    """Create what is missing of the topics that booking and its caches need."""
    settings = KafkaSettings(kafka_bootstrap_servers=bootstrap_servers, kafka_partitions=PARTITIONS)
    # Booking's consumer waits for what channel-sync would write.
    await create_topics(
        settings, [topic for owner in (BOOKING, AVAILABILITY, CHANNEL_SYNC) for topic in owned_by(owner)]
    )


@asynccontextmanager
async def second_kafka(stage: Stage) -> AsyncIterator[str]:
    """Another Kafka with the same topics for a while; its address."""
    folder = stage.supervisor.run_dir / SECOND_KAFKA
    folder.mkdir()
    port = free_port()
    jars = await asyncio.to_thread(class_path, CACHE_DIR)
    spec = await asyncio.to_thread(kafka.prepare, folder, port, free_port(), jars)
    spec = dataclasses.replace(spec, name=SECOND_KAFKA)
    await asyncio.to_thread(stage.supervisor.start, spec)
    try:
        await create_cache_topics(f"{HOST}:{port}")
        yield f"{HOST}:{port}"
    finally:
        await asyncio.to_thread(stage.supervisor.stop, spec.name)
