"""Owns what a channel is told of nights (availability, rates, inventory), what it answers and what its feed holds.

Called by service and by every adapter. Runs are half-open `[start, end)`; the runs of one sequence never overlap.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from channel_sync.domain.pushes import OutboundRequest, OutcomeKind

ONE_NIGHT = timedelta(days=1)
WORST_FIRST = (OutcomeKind.UNKNOWN, OutcomeKind.REFUSED, OutcomeKind.NOT_SENT, OutcomeKind.DEFERRED)


@dataclass(frozen=True, slots=True)
class NightValues:
    """Everything a channel is told of one night: always absolute, never a change.

    `available` is 1 (open) or 0; `rate_minor` is in the currency's minor unit; stays are in nights. None is "the
    property has no such value", which an adapter writes as the channel's own word for it, or leaves out.
    """

    available: int
    rate_minor: int | None = None
    min_stay_arrival: int | None = None
    min_stay_through: int | None = None
    max_stay: int | None = None
    closed_to_arrival: bool = False
    closed_to_departure: bool = False
    stop_sell: bool = False


@dataclass(frozen=True, slots=True)
class ValueRun:
    """The nights `[start, end)`, all with the same values."""

    start: date
    end: date
    values: NightValues


@dataclass(frozen=True, slots=True)
class Limits:
    """What a channel allows: calls a minute, the nights one push may reach ahead, seconds until an answer is given up.

    None is "the channel names no limit".
    """

    calls_per_minute_per_property: int | None
    calls_per_minute: int | None
    max_days: int
    request_timeout_s: float

    def with_settings(self, settings: Mapping[str, Any]) -> "Limits":
        """The same with what a connection's settings say otherwise, as calls it was granted."""
        names = ("calls_per_minute_per_property", "calls_per_minute")
        own = {name: settings[name] for name in names if isinstance(settings.get(name), int) and settings[name] > 0}
        return replace(self, **own) if own else self


@dataclass(frozen=True, slots=True)
class ChannelTarget:
    """What an adapter must know of a connection. `settings` are the adapter's own, as they were stored."""

    endpoint_url: str
    secret: str = field(repr=False)
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PushItem:
    """The nights of one listing that a channel is to be told, as of an inventory version of its property."""

    listing_id: UUID
    version: int
    ota_listing_id: str
    ota_rate_plan_id: str | None
    currency: str
    runs: tuple[ValueRun, ...]


@dataclass(frozen=True, slots=True)
class PushRequest:
    """One HTTP call, and the listings and nights it tells of.

    `bucket` names what the channel counts the call against where it limits the calls of each property. Calls that
    cover the same listing are sent in their order, the next one once the last was answered. A channel may take
    availability and restrictions in separate calls: then several requests cover the same nights, and only `together`
    says what the channel holds.
    """

    request: OutboundRequest
    covers: tuple[PushItem, ...]
    bucket: str = ""


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What one call did to one listing; `runs` are the nights accepted, also where others of it were refused.

    What the channel holds of nights that were covered and are not in `runs` is not known any more: whoever keeps last
    accepted values forgets those nights. Keeping the old value would let a later push of that same old value be
    skipped while the channel holds the one it was half told.
    """

    listing_id: UUID
    kind: OutcomeKind
    runs: tuple[ValueRun, ...]
    error: str | None = None
    error_class: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class FeedItem:
    """One revision cut out of a feed, to be stored before it is acknowledged; `raw` may name a guest, hence no repr."""

    revision_id: str
    raw: bytes = field(repr=False)
    published_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FeedPage:
    """One page of a feed; `cursor` is where to go on, now or at the next poll; None is the feed's beginning."""

    items: tuple[FeedItem, ...]
    cursor: str | None
    has_more: bool


def value_runs(nights: Sequence[NightValues], first: date) -> tuple[ValueRun, ...]:
    """As few runs as possible that say the same as one value a night, from the night `first` on."""
    return _compressed((first + timedelta(days=offset), values) for offset, values in enumerate(nights))


def joined(runs: Iterable[ValueRun]) -> tuple[ValueRun, ...]:
    """The same nights in as few runs as possible, from runs in order."""
    found: list[ValueRun] = []
    for run in runs:
        if found and found[-1].end == run.start and found[-1].values == run.values:
            found[-1] = ValueRun(found[-1].start, run.end, run.values)
        else:
            found.append(run)
    return tuple(found)


def clipped(runs: Sequence[ValueRun], days: int) -> tuple[ValueRun, ...]:
    """The first `days` nights of runs without gaps."""
    end = runs[0].start + timedelta(days=days)
    return tuple(ValueRun(run.start, min(run.end, end), run.values) for run in runs if run.start < end)


def differences(accepted: Sequence[ValueRun], wanted: Sequence[ValueRun]) -> tuple[ValueRun, ...]:
    """The nights of `wanted` whose values are not those accepted, or of which nothing is known; as few runs as
    possible. Nights that only `accepted` has (they are past) are not spoken of."""
    known = dict(_nights(accepted))
    return _compressed((night, values) for night, values in _nights(wanted) if known.get(night) != values)


def accepted_after(
    accepted: Sequence[ValueRun], told: Sequence[ValueRun], outcome: ItemOutcome, today: date
) -> tuple[ValueRun, ...]:
    """What a channel holds from `today` on, after it was told something of nights: those it accepted, and of the others
    only the nights it was not told of; what it holds of the rest is not known any more."""
    held = dict(_nights(accepted))
    for night, _ in _nights(told):
        held.pop(night, None)
    held.update(_nights(outcome.runs))
    return _compressed((night, held[night]) for night in sorted(held) if night >= today)


def together(outcomes: Sequence[ItemOutcome]) -> ItemOutcome:
    """The one outcome of a listing from those of all calls that covered it, at least one.

    The nights accepted are those every call accepted; the kind and error are those of the worst outcome, the pause is
    the longest asked for.
    """
    worst = min(outcomes, key=lambda outcome: _rank(outcome.kind))
    runs = outcomes[0].runs
    for outcome in outcomes[1:]:
        runs = _common(runs, outcome.runs)
    pauses = [outcome.retry_after_s for outcome in outcomes if outcome.retry_after_s is not None]
    return ItemOutcome(
        worst.listing_id, worst.kind, runs, worst.error, worst.error_class, max(pauses) if pauses else None
    )


def _rank(kind: OutcomeKind) -> int:
    return WORST_FIRST.index(kind) if kind in WORST_FIRST else len(WORST_FIRST)


def _common(left: Sequence[ValueRun], right: Sequence[ValueRun]) -> tuple[ValueRun, ...]:
    """The nights that both have with the same values."""
    other = dict(_nights(right))
    return _compressed((night, values) for night, values in _nights(left) if other.get(night) == values)


def _nights(runs: Iterable[ValueRun]) -> Iterator[tuple[date, NightValues]]:
    for run in sorted(runs, key=lambda run: run.start):
        for offset in range((run.end - run.start).days):
            yield run.start + timedelta(days=offset), run.values


def _compressed(nights: Iterable[tuple[date, NightValues]]) -> tuple[ValueRun, ...]:
    """Runs of neighbouring nights with equal values, from nights in order."""
    return joined(ValueRun(night, night + ONE_NIGHT, values) for night, values in nights)
