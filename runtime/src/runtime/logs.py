"""JSON log lines with the trace id of the moment; configured once by `runtime.cli`, used everywhere."""

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import orjson
import structlog

from runtime.telemetry import current_trace_id

Logger = structlog.typing.FilteringBoundLogger


def _add_trace_id(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    trace_id = current_trace_id()
    return event if trace_id is None else {**event, "trace_id": trace_id}


def _render(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # what UTF-8 or 64 bits cannot hold must not break whoever writes a line about it
        return json.dumps(event, default=str)


_ANY_LINE: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _add_trace_id,
]
_AS_JSON: list[structlog.typing.Processor] = [structlog.processors.format_exc_info, _render]


def configure_logs(service: str, level: str) -> None:
    """Send every log line of the process, libraries' too, to stderr as one JSON object."""
    structlog.configure(
        processors=[*_ANY_LINE, *_AS_JSON],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_ANY_LINE, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_AS_JSON],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for noisy in ("aiokafka", "faststream"):  # they tell of every subscription, rebalance and reconnect
        logging.getLogger(noisy).setLevel(logging.WARNING)


def get_logger(name: str) -> Logger:
    """A logger whose lines carry `module=name`."""
    logger: Logger = structlog.get_logger(module=name)
    return logger
