"""Owns the alarms on revisions that somebody should look at: counted, logged, and kept as gauges; called by workers."""

from opentelemetry import metrics

from channel_sync.repository import revisions as revision_rows
from channel_sync.service.deps import Deps
from runtime.logs import get_logger
from runtime.postgres import transaction

log = get_logger(__name__)

_TROUBLED = metrics.get_meter("pms").create_gauge(
    "pms.channel_sync.troubled_revisions",
    "1",
    "Revisions by what is wrong: unacknowledged for 10 min, parked for 24 h, unmapped for 1 h, unparseable in 24 h.",
)


async def raise_alarms(deps: Deps) -> dict[str, int]:
    """Count the revisions that wait for somebody, by what is wrong; all of them are told to the metrics."""
    async with transaction(deps.system_pool, None) as conn:
        found = await revision_rows.count_troubles(conn)
    counts = {
        "unacknowledged": found.unacknowledged,
        "parked": found.parked,
        "unmapped": found.unmapped,
        "unparseable": found.unparseable,
    }
    for trouble, count in counts.items():
        _TROUBLED.set(count, {"trouble": trouble})
    if any(counts.values()):
        log.warning("revisions need somebody", **counts)
    return counts
