"""Proves that one booking is one trace through every service, by the spans they export."""

from __future__ import annotations

import pytest

from deploy.local.journey_client import NotYet, nights_of, until
from deploy.local.journey_scene import Scene
from tests.e2e.infra.running import Running, days
from tests.e2e.infra.span_receiver import ReceivedSpan

pytestmark = pytest.mark.e2e

SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5
TOPIC = "booking.reservations.v1"


def the_span(spans: list[ReceivedSpan], service: str, name: str, kind: int) -> ReceivedSpan:
    found = [span for span in spans if (span.service, span.name, span.kind) == (service, name, kind)]
    assert len(found) == 1, f"{service}: {name}: {found}"
    return found[0]


def ancestors(spans: list[ReceivedSpan], span: ReceivedSpan) -> list[tuple[str, str]]:
    """The chain from a span up to the one whose parent is not ours, as (service, name)."""
    by_id = {known.span_id: known for known in spans}
    chain = []
    while (parent := by_id.get(span.parent_id)) is not None:
        chain.append((parent.service, parent.name))
        span = parent
    return chain


async def test_one_trace_holds_gateway_booking_publish_and_both_consumers_in_one_chain(
    running: Running, scene: Scene
) -> None:
    booked = await scene.agency.book(scene.property_id, days(0, 3))
    booked.expect(201)
    await scene.shown(days(0, 3), closed=nights_of(days(0, 3)))
    told = await scene.told(days(0, 3), "closed")
    wanted = {
        ("gateway", "POST /api/v1/bookings"),
        ("booking", "POST /bookings"),
        ("booking", f"publish {TOPIC}"),
        ("availability", f"process {TOPIC}"),
        ("channel-sync", f"process {TOPIC}"),
        ("channel-sync", "push listing"),
    }
    spans = await running.spans.wait_for(
        booked.trace_id,
        f"the spans {wanted}",
        lambda received: wanted <= {(span.service, span.name) for span in received},
    )
    assert {span.trace_id for span in spans} == {booked.trace_id}
    publish = the_span(spans, "booking", f"publish {TOPIC}", PRODUCER)
    to_the_client = [
        ("booking", "POST /bookings"),
        ("gateway", "POST booking"),
        ("gateway", "POST /api/v1/bookings"),
    ]
    assert ancestors(spans, publish) == to_the_client
    for consumer in ("availability", "channel-sync"):
        process = the_span(spans, consumer, f"process {TOPIC}", CONSUMER)
        assert process.parent_id == publish.span_id
    push = the_span(spans, "channel-sync", "push listing", 1)
    assert ancestors(spans, push)[:2] == [("channel-sync", f"process {TOPIC}"), ("booking", f"publish {TOPIC}")]
    assert the_span(spans, "gateway", "POST booking", CLIENT).parent_id
    assert the_span(spans, "gateway", "POST /api/v1/bookings", SERVER).parent_id, "the client's own span is the root"
    # The channel itself is handed the trace, too.
    pushed = [push for push in scene.ota.pushes if push.at == told.at]
    assert [str(push.traceparent).split("-")[1] for push in pushed] == [booked.trace_id]


async def test_an_ota_booking_is_one_trace_from_the_webhook_to_the_ledger(running: Running, scene: Scene) -> None:
    trace_id = await scene.sell(days(0, 3), "TRACED-1")
    await scene.reservation("TRACED-1", "confirmed")
    wanted = {
        ("gateway", "POST /api/v1/inbound/{connection_id}"),
        ("channel-sync", "POST /inbound/{connection_id}"),
        ("channel-sync", "publish channel-sync.reservations.v1"),
        ("booking", "process channel-sync.reservations.v1"),
        ("booking", f"publish {TOPIC}"),
        ("availability", f"process {TOPIC}"),
    }
    spans = await running.spans.wait_for(
        trace_id, f"the spans {wanted}", lambda received: wanted <= {(span.service, span.name) for span in received}
    )
    publish = the_span(spans, "booking", f"publish {TOPIC}", PRODUCER)
    assert ancestors(spans, publish)[:3] == [
        ("booking", "process channel-sync.reservations.v1"),
        ("channel-sync", "publish channel-sync.reservations.v1"),
        ("channel-sync", "POST /inbound/{connection_id}"),
    ]


async def test_what_the_auditor_counts_arrives_where_spans_do(running: Running) -> None:
    async def look() -> int:
        found = running.spans.count("booking", "pms.audit.cycles")
        if found == 0:
            raise NotYet("no round of the auditor was counted")
        return found

    before = await until(look, "a counted round of the auditor")

    async def look_again() -> None:
        if running.spans.count("booking", "pms.audit.cycles") <= before:
            raise NotYet(f"still {before} rounds")

    await until(look_again, "another counted round")
    found = await running.ledger.fetch("SELECT kind, detail FROM audit_findings WHERE kind <> 'unreadable'")
    assert found == [], "only the tests that plant poison give the auditor something to find"
