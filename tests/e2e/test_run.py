"""Proves `make run`: the journey passes, again on surviving data, and after kill -9; nothing of it remains."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.local.journey import guided_journey
from deploy.local.journey_client import Agency, public_api
from deploy.local.places import REPOSITORY, remove_run_dir
from deploy.local.ports import HOST, RememberedPorts, is_free
from deploy.local.process_state import RunFolder, start_identity
from deploy.local.provision import database_urls
from deploy.local.secrets_file import load_secrets
from deploy.local.services import SERVICES, Ports, Suite
from deploy.local.stack import EmbeddedStack, Stack
from deploy.local.steps import StepFailed, Steps
from tests.conftest import new_run_dir
from tests.e2e.infra.load import Load
from tests.e2e.infra.running import days

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

STARTED_WITHIN_S = 150
ENDED_WITHIN_S = 60
STEPS = [
    "stack up",
    "migrated",
    "topics created",
    "services ready",
    "property created",
    "guest books (201)",
    "availability shows the nights closed",
    "the OTA simulator was told",
    "same nights again: 409 inventory_overlap naming the range",
    "10 concurrent requests for other nights: one 201, nine 409",
    "OTA books free nights: a confirmed reservation",
    "OTA books partly taken nights: kept as overbooked, its still-free nights closed too",
    "the guest cancels: nights stay closed, the overbooked reservation is confirmed",
    "the OTA cancels it: nights open again, in availability and at the OTA",
]


class Runs:
    """Runs of one folder, one after the other, as `make run` starts them."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.ports = Ports.free()
        self.said: list[str] = []

    @asynccontextmanager
    async def run(self, **environment: str) -> AsyncIterator[Process]:
        """One run; killed if it still runs at the end."""
        ports = {f"{name.upper()}_PORT": str(port) for name, port in vars(self.ports).items()}
        self.said = []
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.local", "--run-dir", str(self.run_dir), "run"),
            cwd=REPOSITORY,
            env={"PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1", **ports, **environment},
            stdout=PIPE,
            stderr=STDOUT,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

    async def listen(self, process: Process, until: str | None = None) -> None:
        """Read what the run prints, to the line that contains `until`, else to its end."""
        assert process.stdout is not None
        async with asyncio.timeout(STARTED_WITHIN_S):
            while line := (await process.stdout.readline()).decode():
                self.said.append(line)
                if until is not None and until in line:
                    return
        assert until is None, f"the run ended without saying {until!r}:\n{''.join(self.said)}"

    def journey(self) -> list[dict[str, Any]]:
        """What `journey.json` says."""
        steps: list[dict[str, Any]] = json.loads((self.run_dir / "journey.json").read_text())
        return steps

    def require_whole_journey(self) -> None:
        """Every step is there, in order, with its time; from the first request on each has a trace id."""
        steps = self.journey()
        assert [step["step"] for step in steps] == STEPS, "".join(self.said)
        assert all(step["ok"] and step["ms"] >= 0 for step in steps)
        assert all(len(step["trace_id"]) == 32 for step in steps[4:])
        assert all(any(step["step"] in line for line in self.said) for step in steps)

    def listening_ports(self) -> list[int]:
        """The ports of this run that are not free."""
        remembered = RememberedPorts(self.run_dir)
        stack = [remembered.get(name) for name in ("postgres", "kafka", "kafka_controller")]
        wanted = [self.ports.of(service) for service in SERVICES] + [port for port in stack if port is not None]
        return [port for port in wanted if not is_free(port)]

    def processes(self) -> list[str]:
        """The living processes that run in this run's folder, whoever started them."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.AccessDenied, psutil.NoSuchProcess):
                if process.cwd().startswith(str(self.run_dir)) and start_identity(process.pid) is not None:
                    found.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
        return found

    def require_nothing_left(self) -> None:
        """No process and no listening port remain."""
        assert (self.processes(), self.listening_ports(), RunFolder(self.run_dir).records()) == ([], [], [])


async def book_until_killed(runs: Runs, process: Process) -> int:
    """Kill the run's supervisor, and nothing else, in the middle of bookings; the number acknowledged before."""
    secrets = load_secrets(runs.run_dir)
    async with Agency(public_api(f"http://{HOST}:{runs.ports.gateway}"), secrets.jwt_secret) as agency:
        property_id = (await agency.create_property()).expect(201)["id"]
        load = Load(agency, [property_id], days(0, 1)[0])
        async with load.running(lanes=3):
            await load.wait_for(20)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            await load.wait_for(len(load.acknowledged()) + 5)
        return len(load.acknowledged())


async def test_the_journey_passes_on_surviving_data_and_after_kill_9_and_nothing_of_a_run_remains(
    own_stack: Stack,
) -> None:
    if not isinstance(own_stack, EmbeddedStack):
        pytest.skip("runs embedded stacks of its own: unset DATABASE_URL, KAFKA_BOOTSTRAP_SERVERS and PMS_STACK")
    runs = Runs(new_run_dir())
    try:
        async with runs.run(ONCE="1") as first:
            await runs.listen(first)
            assert await first.wait() == 0, "".join(runs.said)
        runs.require_whole_journey()
        runs.require_nothing_left()

        async with runs.run() as second:
            await runs.listen(second, until="Ctrl-C stops it")
            runs.require_whole_journey()
            assert await book_until_killed(runs, second) >= 25
        left = {record.name for record in RunFolder(runs.run_dir).records() if start_identity(record.pid)}
        assert left == {*SERVICES, "postgres", "kafka"}, "the processes must have outlived their supervisor"

        async with runs.run() as third:
            await runs.listen(third, until="Ctrl-C stops it")
            runs.require_whole_journey()
            for name in left:
                assert f"stopped {name}, left over from a run that was killed\n" in runs.said
            assert any("curl " in line for line in await rest_of_greeting(runs, third))
            third.send_signal(signal.SIGTERM)
            async with asyncio.timeout(ENDED_WITHIN_S):
                await runs.listen(third)
                assert await third.wait() == 0
        runs.require_nothing_left()
    finally:
        RunFolder(runs.run_dir).stop_leftovers()
        remove_run_dir(runs.run_dir)


async def rest_of_greeting(runs: Runs, process: Process) -> list[str]:
    """The lines after "serves at": each service's address and a ready-made call."""
    await runs.listen(process, until="curl ")
    return runs.said


async def test_a_failed_step_is_named_with_what_came_and_where_to_look(tmp_path: Path) -> None:
    secrets = load_secrets(tmp_path)
    nowhere = Suite("127.0.0.1:9", database_urls("postgresql://127.0.0.1/", secrets), secrets, Ports.free())
    with pytest.raises(StepFailed, match="step 'property created' failed") as failure:
        await asyncio.to_thread(guided_journey, nowhere, Steps(tmp_path / "journey.json", lambda _: None))
    assert f"look into: {tmp_path}/logs/gateway.log" in str(failure.value)
    written = json.loads((tmp_path / "journey.json").read_text())
    assert [(step["step"], step["ok"]) for step in written] == [("property created", False)]
