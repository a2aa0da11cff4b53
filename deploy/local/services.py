"""Owns how each process of the four services is run: arguments, environment, port, readiness; called by CLI and tests.

A suite is described once (`Suite`) and asked for process specs: whole services (`serve`), single roles (`api`, `relay`,
...), several processes of one service under names and ports of their own, and one-shot commands (`migrate`, `topics`).
"""

from __future__ import annotations

import http.client
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deploy.local.ports import HOST, free_port
from deploy.local.provision import Databases, DatabaseUrls
from deploy.local.secrets_file import Secrets
from deploy.local.supervisor import ProcessSpec

GATEWAY, BOOKING, AVAILABILITY, CHANNEL_SYNC = "gateway", "booking", "availability", "channel-sync"
SERVICES = (BOOKING, AVAILABILITY, CHANNEL_SYNC, GATEWAY)  # in order of start: each after those it calls
HTTP_ROLES = frozenset({"serve", "api"})
READY_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Ports:
    """The port of each service's main process."""

    gateway: int = 8080
    booking: int = 8081
    availability: int = 8082
    channel_sync: int = 8083

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Ports:
        """The defaults, moved by GATEWAY_PORT, BOOKING_PORT, AVAILABILITY_PORT and CHANNEL_SYNC_PORT."""
        return cls(
            **{name: int(environment.get(f"{name.upper()}_PORT", default)) for name, default in vars(cls()).items()}
        )

    @classmethod
    def free(cls) -> Ports:
        """Four ports that are free now, for tests."""
        chosen: set[int] = set()
        while len(chosen) < len(SERVICES):
            chosen.add(free_port())
        return cls(*chosen)

    def of(self, service: str) -> int:
        """The port of a service by its folder name."""
        return int(getattr(self, service.replace("-", "_")))


@dataclass(frozen=True)
class Suite:
    """One running set of the four services on one stack. `extra` goes into the environment of every process."""

    kafka_bootstrap: str
    databases: Databases
    secrets: Secrets
    ports: Ports = field(default_factory=Ports)
    kafka_partitions: int = 6
    extra: Mapping[str, str] = field(default_factory=dict)

    def url(self, service: str) -> str:
        """The base address of a service's main process: http://127.0.0.1:port."""
        return f"http://{HOST}:{self.ports.of(service)}"

    def process(
        self,
        service: str,
        role: str = "serve",
        *,
        name: str | None = None,
        port: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> ProcessSpec:
        """How to run `python -m <service> <role>`.

        `name` (default: the service, or `service-role`) must be unique in a supervisor; `port` is the service's own
        unless given; `env` wins over what is derived here, so a test can put a proxy in between (BOOKING_URL, ...).
        """
        default_name = service if role == "serve" else f"{service}-{role}"
        chosen = self.ports.of(service) if port is None else port
        # Relative to the run folder, in which every process runs; a replica has a file of its own.
        file = {"SNAPSHOT_PATH": f"{name or default_name}.snapshot"} if service == AVAILABILITY else {}
        environment = {**self._environment(service), "PORT": str(chosen), **file, **(env or {})}
        serves_http = role in HTTP_ROLES
        return ProcessSpec(
            name=name or default_name,
            argv=_python(service, role),
            env=environment,
            ready=http_ready(f"http://{HOST}:{chosen}/health/ready") if serves_http else None,
            ports={f"{service.upper().replace('-', '_')}_PORT": chosen} if serves_http else {},
            ready_timeout_s=READY_TIMEOUT_S,
        )

    def command(self, service: str, *arguments: str) -> ProcessSpec:
        """How to run a command of a service to its end, e.g. `command("booking", "migrate")`."""
        return ProcessSpec(
            name=f"{service}-{arguments[0]}",
            argv=_python(service, *arguments),
            env={**self._environment(service), "PORT": str(self.ports.of(service))},
        )

    def services(self) -> list[ProcessSpec]:
        """The four services, one process each."""
        return [self.process(service) for service in SERVICES]

    def _environment(self, service: str) -> dict[str, str]:
        common = {
            "PYTHONUNBUFFERED": "1",  # a crash must not take its last log lines along
            "HOST": HOST,
            "JWT_SECRET": self.secrets.jwt_secret,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka_bootstrap,
            "KAFKA_PARTITIONS": str(self.kafka_partitions),
        }
        booking = {"BOOKING_URL": self.url(BOOKING)}
        own: dict[str, dict[str, str]] = {
            BOOKING: _database(self.databases.booking),
            AVAILABILITY: booking,
            CHANNEL_SYNC: {
                **_database(self.databases.channel_sync),
                **booking,
                "PUBLIC_URL": self.url(GATEWAY),
                "CREDENTIALS_KEY": self.secrets.credentials_key,
                "CHANNEL_MANAGER_ENABLED": "true",
                "ALLOW_PRIVATE_CHANNELS": "true",  # simulators listen on this machine
            },
            GATEWAY: {
                **booking,
                "AVAILABILITY_URL": self.url(AVAILABILITY),
                "CHANNEL_SYNC_URL": self.url(CHANNEL_SYNC),
            },
        }
        return {**common, **own[service], **self.extra}


def http_ready(url: str) -> Callable[[], bool]:
    """A readiness check: whether GET `url` answers 200 within two seconds."""
    host, _, path = url.removeprefix("http://").partition("/")

    def check() -> bool:
        connection = http.client.HTTPConnection(host, timeout=2)
        try:
            connection.request("GET", f"/{path}")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return check


def _python(service: str, *arguments: str) -> tuple[str, ...]:
    # -P: the working folder is the run folder, whose `kafka` folder must not pass for a package.
    return (sys.executable, "-P", "-m", service.replace("-", "_"), *arguments)


def _database(urls: DatabaseUrls) -> dict[str, str]:
    return {"DATABASE_URL": urls.app, "SYSTEM_DATABASE_URL": urls.system, "OWNER_DATABASE_URL": urls.owner}
