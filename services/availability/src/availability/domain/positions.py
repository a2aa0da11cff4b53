"""Where to begin reading a partition at a start, and how far one was read; called by the consumers."""

from dataclasses import dataclass
from uuid import UUID

# Reading a little before the snapshots' mark costs a few duplicates and finds a watermark that is there already, so
# that a replica becomes ready although no relay runs. A relay writes four watermarks a second.
LOOK_BACK = 50


@dataclass(frozen=True, slots=True)
class Place:
    """How far a partition was read: `offset` is the next one; `event_id` names the event at `event_offset`, if any."""

    topic: str
    partition: int
    offset: int
    event_offset: int | None = None
    event_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class FirstDelta:
    """The offset to begin at; `is_complete` is False when changes between the snapshots and it are lost."""

    offset: int
    is_complete: bool


def first_delta(delta_offset: int | None, log_start: int, log_end: int) -> FirstDelta:
    """Where to begin: `delta_offset` is the mark below which the snapshots contain every change, None for no mark.

    A mark below the log's start has expired; one beyond its end belongs to another log (the topic was made anew).
    """
    if delta_offset is None:
        return FirstDelta(log_start, is_complete=log_start == 0)
    if not log_start <= delta_offset <= log_end:
        return FirstDelta(log_start, is_complete=False)
    return FirstDelta(max(log_start, delta_offset - LOOK_BACK), is_complete=True)
