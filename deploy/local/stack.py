"""Owns the choice of PostgreSQL and Kafka for a run: given, embedded or in containers; called by the CLI and the tests.

One small interface, `Stack`, for all three. The embedded one is made of two supervised processes, `postgres` and
`kafka`, that tests stop, kill and restart by name on its supervisor (same ports, same data).
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from deploy.local import kafka, postgres
from deploy.local.jars import class_path
from deploy.local.places import CACHE_DIR
from deploy.local.ports import HOST, RememberedPorts
from deploy.local.supervisor import Supervisor

POSTGRES_IMAGE = "postgres:18"
KAFKA_IMAGE = "apache/kafka:4.3.1"


class StackMisconfigured(Exception):
    """The environment names half a stack, or a kind of stack that does not exist."""


class Stack(Protocol):
    """A PostgreSQL cluster and a Kafka. `exclusive`: nobody else uses the cluster, so it may be locked down whole."""

    exclusive: bool

    def start(self) -> None:
        """Bring both up; returns when they serve."""

    def stop(self) -> None:
        """Stop what `start` started."""

    @property
    def postgres_admin_dsn(self) -> str:
        """The address of the cluster for an administrator: postgresql://user:password@host:port/database."""

    @property
    def kafka_bootstrap(self) -> str:
        """host:port[,host:port]."""


class GivenStack:
    """Somebody else's PostgreSQL and Kafka, by the addresses in the environment; never started or stopped here."""

    exclusive = False

    def __init__(self, postgres_admin_dsn: str, kafka_bootstrap: str) -> None:
        self.postgres_admin_dsn = postgres_admin_dsn
        self.kafka_bootstrap = kafka_bootstrap

    def start(self) -> None:
        """Nothing to do."""

    def stop(self) -> None:
        """Nothing to do."""


class EmbeddedStack:
    """PostgreSQL and Kafka as processes of `supervisor`, with their data in its run folder, where it survives."""

    exclusive = True

    def __init__(
        self,
        supervisor: Supervisor,
        password: str,
        *,
        postgres_port: int = 0,
        kafka_port: int = 0,
        kafka_controller_port: int = 0,
        cache_dir: Path = CACHE_DIR,
    ) -> None:
        self.supervisor = supervisor
        self._password = password
        self._cache_dir = cache_dir
        self._ports = RememberedPorts(supervisor.run_dir)
        self._configured = {
            "postgres": postgres_port,
            "kafka": kafka_port,
            "kafka_controller": kafka_controller_port,
        }

    def start(self) -> None:
        """Bring both up side by side. Raises `PortTaken`, `DownloadRefused`, `NoPostgres`, `ProcessFailed`."""
        # Before the threads: an interruption waits for threads, and this may be a long download.
        jars = class_path(self._cache_dir)
        run_dir = self.supervisor.run_dir
        ports = {name: self._ports.choose(name, port) for name, port in self._configured.items()}

        def start_postgres() -> None:
            self.supervisor.start(postgres.prepare(run_dir, ports["postgres"], self._password))

        def start_kafka() -> None:
            self.supervisor.start(kafka.prepare(run_dir, ports["kafka"], ports["kafka_controller"], jars))

        with ThreadPoolExecutor(2) as pool:
            started = [pool.submit(start_postgres), pool.submit(start_kafka)]
        for future in started:
            future.result()

    def stop(self) -> None:
        """Stop both; the data stays."""
        self.supervisor.stop(kafka.KAFKA)
        self.supervisor.stop(postgres.POSTGRES)

    @property
    def postgres_admin_dsn(self) -> str:
        """See `Stack`; known once the port has been chosen."""
        return (
            f"postgresql://{postgres.SUPERUSER}:{quote(self._password)}@{HOST}:{self._ports.get('postgres')}/postgres"
        )

    @property
    def kafka_bootstrap(self) -> str:
        """See `Stack`; known once the port has been chosen."""
        return f"{HOST}:{self._ports.get('kafka')}"


class ContainerStack:
    """PostgreSQL and Kafka as containers by testcontainers; needs a container engine. The data ends with them."""

    exclusive = True

    def __init__(self) -> None:
        self._postgres: Any = None
        self._kafka: Any = None

    def start(self) -> None:
        """Start both containers and wait until they serve. Raises what testcontainers and the engine raise."""
        # Imported here: importing them looks for a container engine.
        from testcontainers.community.kafka import KafkaContainer
        from testcontainers.community.postgres import PostgresContainer

        self._postgres = PostgresContainer(POSTGRES_IMAGE, driver=None)
        self._postgres.with_command("postgres -c max_connections=200 -c shared_preload_libraries=pg_stat_statements")
        self._kafka = KafkaContainer(KAFKA_IMAGE).with_kraft()
        self._kafka.with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
        self._kafka.with_env("KAFKA_MESSAGE_MAX_BYTES", str(kafka.MAX_MESSAGE_BYTES))
        self._postgres.start()
        self._kafka.start()

    def stop(self) -> None:
        """Remove the containers that were started."""
        for container in (self._kafka, self._postgres):
            if container is not None:
                container.stop()

    @property
    def postgres_admin_dsn(self) -> str:
        """See `Stack`."""
        return str(self._postgres.get_connection_url())

    @property
    def kafka_bootstrap(self) -> str:
        """See `Stack`."""
        return str(self._kafka.get_bootstrap_server())


def choose_stack(supervisor: Supervisor, password: str, environment: Mapping[str, str]) -> Stack:
    """The stack that the environment asks for: addresses, else containers by `PMS_STACK=containers`, else embedded.

    DATABASE_URL (an administrator's) and KAFKA_BOOTSTRAP_SERVERS come together. Raises `StackMisconfigured`.
    """
    database, bootstrap = environment.get("DATABASE_URL"), environment.get("KAFKA_BOOTSTRAP_SERVERS")
    if database and bootstrap:
        return GivenStack(database, bootstrap)
    if database or bootstrap:
        raise StackMisconfigured("Set both DATABASE_URL and KAFKA_BOOTSTRAP_SERVERS, or neither.")
    kind = environment.get("PMS_STACK", "embedded")
    if kind == "containers":
        return ContainerStack()
    if kind != "embedded":
        raise StackMisconfigured(f"PMS_STACK={kind} is not known: use embedded or containers.")
    return EmbeddedStack(
        supervisor,
        password,
        postgres_port=int(environment.get("POSTGRES_PORT", "0")),
        kafka_port=int(environment.get("KAFKA_PORT", "0")),
        kafka_controller_port=int(environment.get("KAFKA_CONTROLLER_PORT", "0")),
    )
