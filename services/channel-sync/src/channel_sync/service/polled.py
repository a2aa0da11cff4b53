"""Owns what asking a channel for its revisions came to; counted by feeds and calendar_reading."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Polled:
    """What a poll came to so far."""

    stored: int = 0
    known: int = 0
    unreadable: int = 0
    is_cut_short: bool = False
    error: str | None = None
    error_class: str | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def duration_ms(self) -> int:
        """Milliseconds since the poll began."""
        return round((time.monotonic() - self.began) * 1000)
