"""Owns what is pushed to a channel, what became of it and when to try again; called by service and adapters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus

FIRST_PAUSE_S = 0.25
MAX_PAUSE_S = 60.0
MAX_PAUSE_NOT_SENT_S = 10.0
MAX_RETRY_AFTER_S = 3600.0
MAX_DOUBLINGS = 16
ERROR_CLASSES: Mapping[int, str] = {
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limited",
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.FORBIDDEN: "unauthorized",
}
"""What some statuses mean at every channel."""


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """An HTTP request to a channel, signed and ready."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class ChannelAnswer:
    """What a channel answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class OutcomeKind(StrEnum):
    """What became of one push; DEFERRED: nothing was sent and nothing is wrong, there was no time or no call left."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    DEFERRED = "deferred"
    UNKNOWN = "unknown"


def pause_s(kind: OutcomeKind, retry_after_s: float | None, attempts: int, jitter: float) -> float:
    """Seconds until the next attempt after `attempts` failed ones (at least 1); `jitter` is uniform in [0, 1).

    Doubles up to a minute, up to ten seconds when nothing was sent, because then the channel need not be spared. Half
    of it is jitter. The channel's own Retry-After is honoured, up to an hour.
    """
    if kind is OutcomeKind.DEFERRED:
        return retry_after_s or 0.0
    longest = MAX_PAUSE_NOT_SENT_S if kind is OutcomeKind.NOT_SENT else MAX_PAUSE_S
    doubled = FIRST_PAUSE_S * 2.0 ** min(attempts - 1, MAX_DOUBLINGS)
    own = min(doubled, longest) * (0.5 + jitter / 2)
    return max(own, min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))
