"""Owns starting, watching, stopping and killing the processes of one run; called by the stack, the CLI and the tests.

Why it is our own: see docs/decisions/0002-local-supervision.md. All calls block and may come from any thread.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from deploy.local.ports import require_free
from deploy.local.process_state import ProcessRecord, RunFolder, kill_all, start_identity, stop_tree

POLL_S = 0.05
LOG_ROTATE_BYTES = 16 * 1024 * 1024
LAST_LINES = 15
# The child waits for one line before it becomes the program, with the same id and start time. So it is on record before
# it does anything; and when the supervisor dies in between, the pipe closes and the child ends by itself.
GATE = ("/bin/sh", "-c", 'read -r go || exit 125; exec "$@" </dev/null', "gate")
INHERITED = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "LOG_LEVEL",
    "OTEL_EXPORTER_OTLP_ENDPOINT", "PYTHONWARNINGS", "PYTHONDONTWRITEBYTECODE", "COVERAGE_PROCESS_START",
)  # fmt: skip


class ProcessFailed(Exception):
    """A process ended by itself, did not become ready in time, or a command failed; the text has its last log lines."""


@dataclass(frozen=True)
class ProcessSpec:
    """How to run one process. `env` is all it sees beside `INHERITED`; `user` is a system user (root only).

    `ready` answers whether it serves; None means that running is enough. `ports` maps the environment variable that
    moves a port to the port: each must be free before the start.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    user: str | None = None
    cwd: Path | None = None
    stop_signal: int = signal.SIGTERM
    ready_timeout_s: float = 60.0
    stop_timeout_s: float = 20.0


@dataclass
class _Running:
    spec: ProcessSpec
    process: subprocess.Popen[bytes]
    record: ProcessRecord
    log_start: int


class Supervisor:
    """The processes of one run folder, in the order they were started. Logs go to `<folder>/logs/<name>.log`."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir.resolve()
        self.folder = RunFolder(self.run_dir)
        self._specs: dict[str, ProcessSpec] = {}
        self._running: dict[str, _Running] = {}
        self._guard = threading.RLock()

    def open(self) -> list[str]:
        """Take the run folder and stop leftovers of a killed run; their names. Raises `AlreadyRunning`."""
        self.folder.acquire()
        return self.folder.stop_leftovers()

    def close(self) -> None:
        """Stop everything, last started first, and give the folder back; no process and no port remain."""
        try:
            for name in reversed(list(self._running)):
                self.stop(name)
        finally:
            self.folder.release()

    def start(self, spec: ProcessSpec, *, wait: bool = True) -> None:
        """Start a process and, unless `wait` is False, wait until it is ready. Raises `PortTaken`, `ProcessFailed`."""
        with self._guard:
            if spec.name in self._running:
                raise ValueError(f"a process named {spec.name} is already running")
            for variable, port in spec.ports.items():
                require_free(port, variable)
            self._specs[spec.name] = spec
            self._launch(spec)
        if wait:
            self.wait_ready(spec.name)

    def wait_ready(self, *names: str) -> None:
        """Wait until these processes are ready; raises `ProcessFailed` when one ends or exceeds its time."""
        began = time.monotonic()
        waiting = list(names)
        while waiting:
            for name in list(waiting):
                running = self._running[name]
                self._raise_if_ended(running)
                if running.spec.ready is None or running.spec.ready():
                    waiting.remove(name)
                elif time.monotonic() - began > running.spec.ready_timeout_s:
                    raise ProcessFailed(
                        f"{name} was not ready within {running.spec.ready_timeout_s:.0f} s.{self._tail(running)}"
                    )
            if waiting:
                time.sleep(POLL_S)

    def run_all(self, specs: Sequence[ProcessSpec], timeout_s: float = 120.0) -> None:
        """Run commands side by side until all have ended with 0; else raises `ProcessFailed` and stops the others."""
        try:
            for spec in specs:
                self.start(spec, wait=False)
            for spec in specs:
                self._finish(self._running[spec.name], timeout_s)
        finally:
            for spec in specs:
                self.stop(spec.name)

    def stop(self, name: str) -> None:
        """End a process cleanly (killed when it exceeds its stop time); harmless when it is not running."""
        with self._guard:
            running = self._running.get(name)
            if running is None:
                return
            with contextlib.suppress(psutil.NoSuchProcess):
                stop_tree(psutil.Process(running.process.pid), running.spec.stop_signal, running.spec.stop_timeout_s)
            self._forget(running)

    def kill(self, name: str) -> None:
        """Kill a process and all its descendants with SIGKILL, as a power cut would; returns when they are gone."""
        with self._guard:
            running = self._running[name]
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(running.process.pid)
                kill_all([process, *process.children(recursive=True)])
            self._forget(running)

    def restart(self, name: str, *, wait: bool = True) -> None:
        """Start a process again as it was specified, same ports, stopping it first when it still runs."""
        self.stop(name)
        self.start(self._specs[name], wait=wait)

    def names(self) -> list[str]:
        """The names of the processes that were started and not stopped, in order of start."""
        return list(self._running)

    def spec(self, name: str) -> ProcessSpec:
        """How a process of that name was last started; `KeyError` when there never was one."""
        return self._specs[name]

    def pid(self, name: str) -> int:
        """The process id of a running process; `KeyError` when there is none of that name."""
        return self._running[name].process.pid

    def log_path(self, name: str) -> Path:
        """Where a process of that name writes its output."""
        return self.run_dir / "logs" / f"{name}.log"

    def check(self) -> None:
        """Raise `ProcessFailed` naming a process that ended by itself, with its last log lines."""
        for running in list(self._running.values()):
            self._raise_if_ended(running)

    def _launch(self, spec: ProcessSpec) -> None:
        log = self.log_path(spec.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_ROTATE_BYTES:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as output:
            log_start = output.tell()
            process = subprocess.Popen(
                [*GATE, *spec.argv],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=child_environment(spec.env),
                cwd=spec.cwd or self.run_dir,
                start_new_session=True,
                user=spec.user,
                group=_group_of(spec.user),
                extra_groups=[] if spec.user else None,
            )
        try:
            record = ProcessRecord(spec.name, process.pid, start_identity(process.pid) or "", spec.stop_signal)
            self._running[spec.name] = _Running(spec, process, record, log_start)
            self._write()
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(b"go\n")
                process.stdin.close()
        except BaseException:
            process.kill()
            process.wait()
            self._running.pop(spec.name, None)
            raise

    def _finish(self, running: _Running, timeout_s: float) -> None:
        try:
            code = running.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ProcessFailed(
                f"{running.spec.name} did not end within {timeout_s:.0f} s.{self._tail(running)}"
            ) from None
        if code != 0:
            raise ProcessFailed(f"{running.spec.name} failed ({_ending(code)}).{self._tail(running)}")

    def _raise_if_ended(self, running: _Running) -> None:
        code = running.process.poll()
        if code is not None:
            raise ProcessFailed(f"{running.spec.name} ended by itself ({_ending(code)}).{self._tail(running)}")

    def _tail(self, running: _Running) -> str:
        lines = self.last_lines(running.spec.name, since=running.log_start)
        shown = "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"
        return f" Last lines of {self.log_path(running.spec.name)}:\n{shown}"

    def last_lines(self, name: str, since: int = 0, count: int = LAST_LINES) -> list[str]:
        """The last `count` lines of a log after byte `since`."""
        with self.log_path(name).open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(min(since, size), size - 64 * 1024))
            return log.read().decode(errors="replace").splitlines()[-count:]

    def _forget(self, running: _Running) -> None:
        running.process.wait()
        self._running.pop(running.spec.name, None)
        self._write()

    def _write(self) -> None:
        self.folder.write_records([running.record for running in self._running.values()])


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a child: a few variables of ours, then `extra`.

    Not all of ours: a DATABASE_URL or PORT exported in a developer's shell must not reach a service by accident.
    """
    return {key: os.environ[key] for key in INHERITED if key in os.environ} | dict(extra)


def _group_of(user: str | None) -> int | None:
    return None if user is None else pwd.getpwnam(user).pw_gid


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
