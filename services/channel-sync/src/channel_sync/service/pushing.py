"""Owns telling a channel: one claim's listings planned, sent and given to the record; called by outbound.

What a channel is told is always the difference between what it last accepted and the ledger's state of this moment, as
absolute values. Nothing of the database is held open while booking or the channel is waited for.
"""

import asyncio
import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from channel_sync.adapters import Adapter
from channel_sync.clients.channels import ChannelSilent, ChannelUnreachable
from channel_sync.domain.ari import ItemOutcome, PushItem, PushRequest, ValueRun, clipped, differences, together
from channel_sync.domain.claims import Claim, ClaimedListing
from channel_sync.domain.night_values import listing_runs, sold_out_years
from channel_sync.domain.pushes import OutcomeKind
from channel_sync.repository import channel_health
from channel_sync.repository import listings as listing_rows
from channel_sync.service.deps import Deps
from runtime.http_client import UpstreamUnavailable
from runtime.logs import get_logger
from runtime.postgres import transaction
from runtime.telemetry import span

log = get_logger(__name__)

READS_AT_ONCE = 8
CALLS_AT_ONCE = 4
BURST_SHARE = 5
"""Of the calls a channel allows in a minute, one in so many may be made at once; the others are spread over it."""
DOWN = frozenset(("unreachable", "silent", "channel_error", "unauthorized", "not_the_api"))
"""Classes of errors that say that the channel does not work, whatever is sent."""


@dataclass(frozen=True, slots=True)
class Push:
    """A claim; `asked_at` is the monotonic clock before it was made, so the lease began later than that."""

    claim: Claim
    asked_at: float

    def elapsed_s(self) -> float:
        """Seconds since the claim was asked for."""
        return time.monotonic() - self.asked_at

    def now(self) -> datetime:
        """The database's time, carried on by the monotonic clock."""
        return self.claim.connection.claimed_at + timedelta(seconds=self.elapsed_s())


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one listing: the whole nights `wanted` at a version, those of them that were to be `told`."""

    listing: ClaimedListing
    outcome: ItemOutcome
    version: int | None = None
    wanted: tuple[ValueRun, ...] = ()
    told: tuple[ValueRun, ...] = ()
    is_sent: bool = False
    payload_digest: str | None = None

    @property
    def is_attempt(self) -> bool:
        """Whether something was tried, or failed, that somebody may want to have explained."""
        if self.outcome.kind is OutcomeKind.DEFERRED:
            return False
        return self.version is None or bool(self.told) or bool(self.listing.asked_for)


@dataclass(slots=True)
class _Plan:
    """One listing on its way: what is wanted of it, and what its calls came to."""

    listing: ClaimedListing
    version: int
    wanted: tuple[ValueRun, ...]
    item: PushItem
    outcomes: list[ItemOutcome] = field(default_factory=list)
    is_sent: bool = False
    payload: "hashlib._Hash" = field(default_factory=hashlib.sha256)


async def tell(deps: Deps, push: Push) -> list[Told]:
    """Tell a channel all that changed at the listings of a claim; whatever fails is an outcome."""
    connection = push.claim.connection
    gate = asyncio.Semaphore(READS_AT_ONCE)
    planned = await asyncio.gather(*(_planned(deps, push, listing, gate) for listing in push.claim.listings))
    plans = [plan for plan in planned if isinstance(plan, _Plan)]
    done = [one for one in planned if isinstance(one, Told)]
    to_send = [plan for plan in plans if plan.item.runs]
    if to_send:
        try:
            adapter = deps.adapters[connection.adapter]
            target = connection.target(deps.cipher.open(connection.sealed_secret))
            requests = adapter.push_requests(target, [plan.item for plan in to_send], push.now())
        except Exception as error:
            return done + [_ended(plan, _failed(plan.listing, _reason(error))) for plan in plans]
        await _send_all(deps, push, adapter, requests, {plan.listing.listing_id: plan for plan in to_send})
    return done + [_outcome_of(plan) for plan in plans]


async def _planned(deps: Deps, push: Push, listing: ClaimedListing, gate: asyncio.Semaphore) -> _Plan | Told:
    """What a listing's channel must be told, or why that cannot be said."""
    connection = push.claim.connection
    try:
        async with gate:
            state = await deps.reads.read(listing.property_id, listing.oldest_version)
    except Exception as error:
        return Told(listing, _failed(listing, _reason(error)))
    if state is None or state.calendar.agency_id != connection.agency_id:
        return Told(listing, _failed(listing, "booking does not know the property"))
    version = state.calendar.inventory_version
    if version < listing.oldest_version:
        error_text = f"booking answered version {version}, older than {listing.oldest_version}"
        return Told(listing, _failed(listing, error_text))
    try:
        sold_out = await _sold_out(deps, connection.connection_id, listing)
    except Exception as error:
        return Told(listing, _failed(listing, _reason(error)))
    runs = clipped(state.runs, deps.adapters[connection.adapter].limits.max_days)
    wanted = listing_runs(runs, listing.overrides, sold_out)
    item = PushItem(
        listing_id=listing.listing_id,
        version=version,
        ota_listing_id=listing.ota_listing_id,
        ota_rate_plan_id=listing.ota_rate_plan_id,
        currency=state.calendar.currency,
        runs=differences(listing.accepted or (), wanted),
    )
    return _Plan(listing, version, wanted, item)


async def _sold_out(deps: Deps, connection_id: UUID, listing: ClaimedListing) -> frozenset[int]:
    """The years in which a listing may sell no more nights; asked of the database only where there is a limit."""
    if listing.overrides.max_nights_sold is None:
        return frozenset()
    async with transaction(deps.system_pool, None) as conn:
        stays = await listing_rows.select_nights_sold(conn, connection_id, listing.ota_listing_id)
    return sold_out_years(stays, listing.overrides)


async def _send_all(
    deps: Deps, push: Push, adapter: Adapter, requests: Sequence[PushRequest], plans: dict[UUID, _Plan]
) -> None:
    """Send the calls: those that cover the same listing one after another, the others side by side."""
    gate = asyncio.Semaphore(CALLS_AT_ONCE)
    chains = _chains(requests)
    await asyncio.gather(*(_send_chain(deps, push, adapter, chain, plans, gate) for chain in chains))


def _chains(requests: Sequence[PushRequest]) -> list[list[PushRequest]]:
    """Calls in order, apart where they share no listing."""
    chains: list[tuple[set[UUID], list[PushRequest]]] = []
    for request in requests:
        covered = {item.listing_id for item in request.covers}
        touching = [chain for chain in chains if chain[0] & covered]
        chains = [chain for chain in chains if not chain[0] & covered]
        ids = covered.union(*(chain[0] for chain in touching))
        chains.append((ids, [*(earlier for chain in touching for earlier in chain[1]), request]))
    return [chain for _, chain in chains]


async def _send_chain(
    deps: Deps,
    push: Push,
    adapter: Adapter,
    chain: Sequence[PushRequest],
    plans: dict[UUID, _Plan],
    gate: asyncio.Semaphore,
) -> None:
    stopped: tuple[OutcomeKind, float | None] | None = None
    for request in chain:
        if stopped is None:
            async with gate:
                outcomes = await _send(deps, push, adapter, request, plans)
            kinds = {outcome.kind for outcome in outcomes}
            if not kinds <= {OutcomeKind.ACCEPTED, OutcomeKind.REFUSED}:
                stopped = (OutcomeKind.DEFERRED, max((one.retry_after_s or 0.0 for one in outcomes), default=0.0))
        else:
            kind, pause = stopped
            outcomes = [
                ItemOutcome(item.listing_id, kind, (), "an earlier call failed", None, pause) for item in request.covers
            ]
        for outcome in outcomes:
            plans[outcome.listing_id].outcomes.append(outcome)


async def _send(
    deps: Deps, push: Push, adapter: Adapter, request: PushRequest, plans: dict[UUID, _Plan]
) -> Sequence[ItemOutcome]:
    """One call; for each listing it covers what became of it."""
    timeout_s = min(deps.push.timeout_s, adapter.limits.request_timeout_s)
    # We were held up: whoever has the listing next must not be followed by this request.
    if push.elapsed_s() > deps.push.lease_s - timeout_s:
        return _all(request, OutcomeKind.DEFERRED, "the lease would run out before the answer", None)
    try:
        wait_s = await _wait_for_call(deps, push, adapter, request)
    except Exception as error:
        return _all(request, OutcomeKind.NOT_SENT, _reason(error), None)
    if wait_s > 0:
        return _all(request, OutcomeKind.DEFERRED, "the channel allows no more calls now", None, wait_s)
    parent = _parent(plans[item.listing_id].listing for item in request.covers)
    attributes = {
        "pms.connection_id": str(push.claim.connection.connection_id),
        "pms.listings": str(len(request.covers)),
    }
    with span("tell channel", parent=parent, attributes=attributes):
        try:
            answer = await deps.channels.send(request.request, timeout_s)
            for item in request.covers:
                plans[item.listing_id].is_sent = True
                plans[item.listing_id].payload.update(request.request.body)
            return adapter.push_outcome(request, answer, push.now())
        except ChannelUnreachable as error:
            return _all(request, OutcomeKind.NOT_SENT, str(error), "unreachable")
        except ChannelSilent as error:
            return _all(request, OutcomeKind.UNKNOWN, str(error), "silent")
        except Exception as error:
            return _all(request, OutcomeKind.UNKNOWN, _reason(error), None)


async def _wait_for_call(deps: Deps, push: Push, adapter: Adapter, request: PushRequest) -> float:
    """Take a call out of what the channel allows: 0, or seconds until one is there."""
    connection = push.claim.connection
    limits = adapter.limits.with_settings(connection.settings)
    buckets = [(request.bucket, limits.calls_per_minute_per_property), ("", limits.calls_per_minute)]
    allowed = [(bucket, calls) for bucket, calls in buckets if calls is not None]
    if not allowed:
        return 0.0
    async with transaction(deps.system_pool, None) as conn:
        for bucket, calls in allowed:
            depth = max(calls // BURST_SHARE, 1)
            wait_s = await channel_health.take_call(
                conn,
                connection.agency_id,
                connection.connection_id,
                bucket,
                refill_s=60.0 / max(calls - depth, 1),
                depth=depth,
            )
            if wait_s > 0:
                return wait_s
    return 0.0


def _all(
    request: PushRequest, kind: OutcomeKind, error: str, error_class: str | None, retry_after_s: float | None = None
) -> list[ItemOutcome]:
    return [ItemOutcome(item.listing_id, kind, (), error, error_class, retry_after_s) for item in request.covers]


def _outcome_of(plan: _Plan) -> Told:
    if not plan.item.runs:
        return _ended(plan, ItemOutcome(plan.listing.listing_id, OutcomeKind.ACCEPTED, ()))
    if not plan.outcomes:
        return _ended(plan, _failed(plan.listing, "the adapter made no call for these nights"))
    return _ended(plan, together(plan.outcomes))


def _ended(plan: _Plan, outcome: ItemOutcome) -> Told:
    return Told(
        plan.listing,
        outcome,
        plan.version,
        plan.wanted,
        plan.item.runs,
        plan.is_sent,
        plan.payload.hexdigest() if plan.is_sent else None,
    )


def _failed(listing: ClaimedListing, error: str) -> ItemOutcome:
    return ItemOutcome(listing.listing_id, OutcomeKind.NOT_SENT, (), error)


def _parent(listings: Iterable[ClaimedListing]) -> dict[str, str] | None:
    """The trace of the change that made the first of them stale; the others' have a span of their own each."""
    return next(({"traceparent": one.traceparent} for one in listings if one.traceparent is not None), None)


def _reason(error: Exception) -> str:
    if isinstance(error, UpstreamUnavailable):
        return str(error)
    log.error("push failed", error=repr(error)[:300])
    return f"{type(error).__name__} in channel-sync"
