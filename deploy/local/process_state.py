"""Owns the record of which processes a run started, and stops leftovers; called by the supervisor and the CLI.

A process is known by its id *and* its start time: ids are recycled, names are shared. Nothing is ever stopped by name.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil

LEFTOVER_STOP_S = 15.0


class AlreadyRunning(Exception):
    """Another run is using this folder. Stop it with `make stop`, then start again."""


@dataclass(frozen=True)
class ProcessRecord:
    """One started process: `identity` is `start_identity()` at the start, `stop_signal` what ends it cleanly."""

    name: str
    pid: int
    identity: str
    stop_signal: int


def start_identity(pid: int) -> str | None:
    """What tells this process from every other that ever had this id; None when there is no such process.

    On Linux the boot and the start in clock ticks since it: unlike a time of day it does not move with the clock.
    """
    stat = Path(f"/proc/{pid}/stat")
    try:
        # The command's name is in parentheses and may itself hold spaces and parentheses: count fields after the last.
        fields = stat.read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            return f"{psutil.Process(pid).create_time():.3f}"
        return None
    # A zombie runs no more; where nothing reaps orphans (a container without an init) it keeps its id for ever.
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def write_json(path: Path, value: object, mode: int = 0o644) -> None:
    """Replace `path` in one step, so that a reader (or a kill) never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "w") as handle:
        json.dump(value, handle, indent=2)
    Path(temporary).chmod(mode)
    Path(temporary).replace(path)


class RunFolder:
    """The lock and the process list of one run folder; at most one supervisor holds a folder at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path / "processes.json"
        self._lock: IO[str] | None = None

    def acquire(self) -> None:
        """Take the folder; raises `AlreadyRunning`. The kernel gives it back however this process ends."""
        self.path.mkdir(parents=True, exist_ok=True)
        handle = (self.path / "lock").open("a+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            raise AlreadyRunning(f"{AlreadyRunning.__doc__} (folder {self.path})") from None
        handle.seek(0)
        handle.truncate()
        json.dump({"pid": os.getpid(), "identity": start_identity(os.getpid())}, handle)
        handle.flush()
        self._lock = handle

    def release(self) -> None:
        """Give the folder back; harmless when it is not held."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def supervisor_pid(self) -> int | None:
        """The process id of the supervisor holding this folder, or None when there is none."""
        try:
            holder = json.loads((self.path / "lock").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        pid = int(holder["pid"])
        return pid if start_identity(pid) == holder["identity"] else None

    def records(self) -> list[ProcessRecord]:
        """The recorded processes, in the order they were started."""
        try:
            return [ProcessRecord(**entry) for entry in json.loads(self._file.read_text())]
        except FileNotFoundError:
            return []

    def write_records(self, records: list[ProcessRecord]) -> None:
        """Replace the record."""
        write_json(self._file, [asdict(record) for record in records])

    def stop_leftovers(self) -> list[str]:
        """Stop what an earlier, killed supervisor left running, last started first; their names.

        The caller holds the folder. A recorded id that now belongs to another process is left alone.
        """
        stopped = []
        for record in reversed(self.records()):
            if start_identity(record.pid) != record.identity:
                continue
            with contextlib.suppress(psutil.NoSuchProcess):
                stop_tree(psutil.Process(record.pid), record.stop_signal, LEFTOVER_STOP_S)
                stopped.append(record.name)
        self.write_records([])
        return stopped


def stop_tree(process: psutil.Process, stop_signal: int, timeout_s: float) -> None:
    """Ask the process to end, wait, and kill it and its descendants that are still there.

    The signal goes to the process alone: its descendants are its own to stop. psutil compares start times before it
    signals, so a descendant's recycled id is not hit.
    """
    family = [process, *process.children(recursive=True)]
    ended = _watch([process])
    process.send_signal(stop_signal)
    ended(timeout_s)
    kill_all(family)


def kill_all(family: list[psutil.Process]) -> None:
    """Kill the processes that still run and wait until they are gone."""
    gone = _watch(family)
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGKILL)
    gone(LEFTOVER_STOP_S)


def _watch(family: list[psutil.Process]) -> Callable[[float], None]:
    """Note who these processes are now; the answer waits until all have ended, or the given seconds are over.

    psutil's own waits would also wait until somebody reaps an orphan, which in a container may be never.
    """
    identities = {member.pid: start_identity(member.pid) for member in family}

    def wait(timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        for pid, identity in identities.items():
            while identity is not None and start_identity(pid) == identity and time.monotonic() < deadline:
                time.sleep(0.01)

    return wait
