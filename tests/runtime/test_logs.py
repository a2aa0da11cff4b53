"""Proves the log of a process: one JSON object a line, with service and trace id, that never breaks its writer."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

PROGRAM = """
import logging
from runtime.logs import configure_logs, get_logger
from runtime.telemetry import configure_telemetry, current_trace_id, span
configure_logs("tests", "INFO")
configure_telemetry("tests")
log = get_logger("here")
log.debug("hidden")
log.info("plain", number=2**70, odd="\\udcff", key={1: 2}, thing=object)
with span("work"):
    log.warning("traced")
    logging.getLogger("library").warning("from %s", "elsewhere")
    print(current_trace_id())
try:
    1 / 0
except ZeroDivisionError as error:
    log.error("failed", exc_info=error)
    logging.getLogger("library").exception("failed too")
logging.getLogger("aiokafka").info("hidden")
"""


def run() -> tuple[str, list[dict[str, Any]]]:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip(), [json.loads(line) for line in done.stderr.splitlines()]


def test_every_line_is_one_json_object_that_says_who_where_and_when() -> None:
    trace_id, lines = run()
    assert [line["event"] for line in lines] == ["plain", "traced", "from elsewhere", "failed", "failed too"]
    assert {line["service"] for line in lines} == {"tests"}
    assert [line["level"] for line in lines] == ["info", "warning", "warning", "error", "error"]
    assert all(line["timestamp"].endswith("Z") for line in lines)
    assert lines[0]["module"] == "here"
    assert lines[2]["logger"] == "library"
    assert len(trace_id) == 32
    assert [line.get("trace_id") for line in lines] == [None, trace_id, trace_id, None, None]
    assert all("ZeroDivisionError" in line["exception"] for line in lines[3:])
