"""Owns one run of the whole suite: leftovers, stack, databases, services, journey, serving, end; called by the CLI.

Everything started here is stopped here, in reverse order, however the run ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from deploy.local.ports import require_free
from deploy.local.prepare import create_all_topics, migrate_databases
from deploy.local.process_state import RunFolder, start_identity
from deploy.local.provision import provision
from deploy.local.secrets_file import load_secrets
from deploy.local.services import GATEWAY, SERVICES, Ports, Suite
from deploy.local.stack import choose_stack
from deploy.local.steps import StepFailed, Steps
from deploy.local.supervisor import ProcessFailed, Supervisor

STOP_S = 90.0
WATCH_S = 0.5

Journey = Callable[[Suite, Steps], str]


def run_suite(run_dir: Path, environment: Mapping[str, str], journey: Journey, *, once: bool) -> None:
    """Bring the suite up, walk the journey, then serve until interrupted (or, with `once`, end).

    Returns when serving was interrupted, or at the end; an earlier interruption passes as `KeyboardInterrupt`. Raises
    `StepFailed`, `PortTaken`, `AlreadyRunning`, `ProcessFailed`.
    """
    with supervised(run_dir) as supervisor:
        steps = Steps(run_dir / "journey.json")
        with running_suite(supervisor, environment, steps) as suite:
            try:
                agency_id = journey(suite, steps)
            except StepFailed as failure:
                raise _with_crash(supervisor, failure) from failure
            if not once:
                _serve(supervisor, suite, agency_id)


@contextmanager
def supervised(run_dir: Path) -> Iterator[Supervisor]:
    """A supervisor of that run folder, free of leftovers; everything is stopped at the end.

    SIGTERM and SIGHUP interrupt the body as Ctrl-C does.
    """

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    supervisor = Supervisor(run_dir)
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        for name in supervisor.open():
            print(f"stopped {name}, left over from a run that was killed")
        yield supervisor
    finally:
        for number in signals:  # a second Ctrl-C must not leave half of the processes behind
            signal.signal(number, signal.SIG_IGN)
        supervisor.close()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def prepared_suite(supervisor: Supervisor, environment: Mapping[str, str], steps: Steps) -> Iterator[Suite]:
    """The suite on a stack that is up, with its databases migrated; the stack is stopped at the end."""
    secrets = load_secrets(supervisor.run_dir)
    stack = choose_stack(supervisor, secrets.postgres_password, environment)
    try:
        with steps.step("stack up") as step:
            stack.start()
            databases = asyncio.run(provision(stack.postgres_admin_dsn, secrets, exclusive=stack.exclusive))
            step.detail = f"{type(stack).__name__}: Kafka at {stack.kafka_bootstrap}"
        suite = Suite(stack.kafka_bootstrap, databases, secrets, Ports.from_environment(environment))
        with steps.step("migrated"):
            asyncio.run(migrate_databases(databases))
        yield suite
    finally:
        stack.stop()


@contextmanager
def running_suite(supervisor: Supervisor, environment: Mapping[str, str], steps: Steps) -> Iterator[Suite]:
    """The suite with its topics created and its four services ready; everything is stopped at the end."""
    ports = Ports.from_environment(environment)
    for service in SERVICES:  # before the long part of the start
        require_free(ports.of(service), f"{service.upper().replace('-', '_')}_PORT")
    with prepared_suite(supervisor, environment, steps) as suite:
        with steps.step("topics created"):
            asyncio.run(create_all_topics(suite))
        try:
            with steps.step("services ready"):
                for spec in suite.services():
                    supervisor.start(spec, wait=False)
                supervisor.wait_ready(*SERVICES)
            yield suite
        finally:
            for service in reversed(SERVICES):
                supervisor.stop(service)


def stop_run(run_dir: Path) -> list[str]:
    """Stop the run of that folder, alive or killed, and its leftovers; what was stopped. Raises `TimeoutError`."""
    stopped = []
    pid = RunFolder(run_dir).supervisor_pid()
    if pid is not None:
        identity = start_identity(pid)
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while start_identity(pid) == identity:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the run (process {pid}) did not stop within {STOP_S:.0f} s")
            time.sleep(0.1)
        stopped.append(f"the run (process {pid})")
    if run_dir.exists():
        supervisor = Supervisor(run_dir)
        stopped += supervisor.open()
        supervisor.close()
    return stopped


def _serve(supervisor: Supervisor, suite: Suite, agency_id: str) -> None:
    try:
        _say_where(suite, agency_id)
        while True:
            supervisor.check()
            time.sleep(WATCH_S)
    except KeyboardInterrupt:
        print("\nstopping ...")


def _with_crash(supervisor: Supervisor, failure: StepFailed) -> StepFailed:
    """The failure, and the process that ended by itself when that is why."""
    try:
        supervisor.check()
    except ProcessFailed as crash:
        return StepFailed(f"{failure}\n{crash}")
    return failure


def _say_where(suite: Suite, agency_id: str) -> None:
    gateway = suite.url(GATEWAY)
    print(f"\nThe suite serves at {gateway} (API and documentation: {gateway}/docs). Ctrl-C stops it.")
    for service in SERVICES:
        print(f"  {service:<14} {suite.url(service)}   log: make logs NAME={service}")
    print("Try it:")
    print(f'  curl -s -H "Authorization: Bearer $(make -s token AGENCY={agency_id})" {gateway}/api/v1/bookings')
