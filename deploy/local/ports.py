"""Owns the choice of TCP ports on 127.0.0.1: free, remembered or taken; called by stack, supervisor and tests."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Mapping
from pathlib import Path

from deploy.local.process_state import write_json

HOST = "127.0.0.1"
# Below the kernel's range for outgoing connections (32768 and up on Linux): a port chosen there could be taken by any
# client's connection while its server is down, and the restart "on the same port" of a fault test would fail.
FIRST, LAST = 15_000, 31_999
TRIES = 200


class PortTaken(Exception):
    """A port that a process needs is in use by another program."""


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def require_free(port: int, variable: str) -> None:
    """Raise `PortTaken`, with the variable that moves the port, unless it is free."""
    if not is_free(port):
        raise PortTaken(
            f"Port {port} on {HOST} is taken by another program. Stop that program, "
            f"or choose another port: {variable}={free_port()} make run"
        )


def free_port() -> int:
    """A port that was free a moment ago."""
    for _ in range(TRIES):
        port = random.randint(FIRST, LAST)  # noqa: S311 - no secret
        if is_free(port):
            return port
    raise PortTaken(f"No free port between {FIRST} and {LAST} on {HOST}.")


class RememberedPorts:
    """Ports chosen once per run folder, so that a restart serves on the same addresses."""

    def __init__(self, run_dir: Path) -> None:
        self._file = run_dir / "ports.json"

    def choose(self, name: str, configured: int = 0) -> int:
        """The configured port, else the remembered one while it is free, else a new free one (and remember it)."""
        known = self._read()
        port = configured or known.get(name, 0)
        if not configured and (port == 0 or not is_free(port)):
            port = free_port()
        write_json(self._file, {**known, name: port})
        return port

    def get(self, name: str) -> int | None:
        """The port last chosen under this name."""
        return self._read().get(name)

    def _read(self) -> Mapping[str, int]:
        try:
            ports: dict[str, int] = json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}
        return ports
