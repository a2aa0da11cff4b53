"""Small helpers of the repository: parameters of a position, rows that must exist, and counts."""

from datetime import datetime
from uuid import UUID

from channel_sync.domain.paging import Position
from runtime.postgres import Row


def position_parameters(after: Position | None) -> tuple[datetime | None, UUID | None]:
    """A list's position as its two parameters; nulls on the first page."""
    return (after.at, after.id) if after is not None else (None, None)


def present(row: Row | None) -> Row:
    """The row of a statement that always answers one."""
    assert row is not None
    return row


def affected(status: str) -> int:
    """The number of rows of a command tag such as `UPDATE 3`."""
    return int(status.rpartition(" ")[2])
