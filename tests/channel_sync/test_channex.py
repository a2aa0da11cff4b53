"""Proves the Channex adapter against the channel's documented rules: pushes and what their answers mean."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from channel_sync.adapters.channex import Channex
from channel_sync.domain.ari import ChannelTarget, NightValues, PushItem, PushRequest, ValueRun, value_runs
from channel_sync.domain.pushes import ChannelAnswer, OutcomeKind
from tests.channel_sync.channels.channex import CALLS_A_MINUTE, ChannexChannel

KEY = "the key of the account"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TODAY = NOW.date()
TARGET = ChannelTarget("https://channel.example/api/v1/", KEY, {})
ADAPTER = Channex()


def nights(count: int, **values: Any) -> ValueRun:
    return ValueRun(TODAY, TODAY + timedelta(days=count), NightValues(**{"available": 1, "rate_minor": 9000, **values}))


def item(*runs: ValueRun, number: int = 1, plan: bool = True, property_id: str = "P") -> PushItem:
    return PushItem(
        UUID(int=number), 7, f"{property_id}/room-{number}", f"plan-{number}" if plan else None, "EUR", runs
    )


def requests_for(*items: PushItem) -> tuple[PushRequest, ...]:
    return ADAPTER.push_requests(TARGET, items, NOW)


def test_a_full_sync_of_500_days_is_two_calls_after_which_the_channel_holds_every_value() -> None:
    channel = ChannexChannel(KEY)
    wanted = [
        NightValues(n % 2, 9000 + n, 1 + n % 3, 1 + n % 2, n % 30, n % 5 == 0, n % 7 == 0, n % 11 == 0)
        for n in range(500)
    ]
    requests = requests_for(item(*value_runs(wanted, TODAY)))
    assert [request.request.url.rpartition("/")[2] for request in requests] == ["availability", "restrictions"]
    for request in requests:
        (outcome,) = ADAPTER.push_outcome(request, channel.answer(request.request, NOW), NOW)
        assert (outcome.kind, outcome.runs) == (OutcomeKind.ACCEPTED, value_runs(wanted, TODAY))
    for n, values in enumerate(wanted):
        night = TODAY + timedelta(days=n)
        assert channel.nights["room-1", night] == {"availability": values.available}
        assert channel.nights["plan-1", night] == {
            "rate": values.rate_minor,
            "min_stay_arrival": values.min_stay_arrival,
            "min_stay_through": values.min_stay_through,
            "max_stay": values.max_stay,
            "closed_to_arrival": values.closed_to_arrival,
            "closed_to_departure": values.closed_to_departure,
            "stop_sell": values.stop_sell,
        }


def test_ranges_end_with_their_last_night_and_join_where_a_call_tells_no_difference() -> None:
    split = (
        ValueRun(TODAY, TODAY + timedelta(days=2), NightValues(0, 9000)),
        ValueRun(TODAY + timedelta(days=2), TODAY + timedelta(days=3), NightValues(0, 9900)),
    )
    availability, restrictions = requests_for(item(*split))
    assert [value["date_to"] for value in json.loads(availability.request.body)["values"]] == ["2026-05-03"]
    assert [value["date_to"] for value in json.loads(restrictions.request.body)["values"]] == [
        "2026-05-02",
        "2026-05-03",
    ]


def test_closing_goes_first_and_nights_that_only_open_get_their_price_first() -> None:
    assert [r.request.url[-12:] for r in requests_for(item(nights(2, available=0)))] == ["availability", "restrictions"]
    assert [r.request.url[-12:] for r in requests_for(item(nights(2)))] == ["restrictions", "availability"]


def test_a_rule_that_is_gone_is_told_as_the_value_that_restricts_nothing() -> None:
    channel = ChannexChannel(KEY)
    for run in (nights(1, min_stay_arrival=3, min_stay_through=2, max_stay=9, stop_sell=True), nights(1)):
        for request in requests_for(item(run)):
            assert channel.answer(request.request, NOW).status == 200
    told = channel.nights["plan-1", TODAY]
    assert (told["min_stay_arrival"], told["min_stay_through"], told["max_stay"], told["stop_sell"]) == (1, 1, 0, False)


def test_listings_of_two_properties_never_share_a_call_and_one_without_rate_plan_gets_availability_alone() -> None:
    requests = requests_for(
        item(nights(1)), item(nights(1), number=2, plan=False), item(nights(1), number=3, property_id="Q", plan=False)
    )
    covered = [[covers.listing_id.int for covers in request.covers] for request in requests]
    assert covered == [[1], [1, 2], [3]]


def test_a_warning_refuses_its_nights_of_its_listing_and_nothing_else() -> None:
    channel = ChannexChannel(KEY)
    bad = ValueRun(TODAY + timedelta(days=2), TODAY + timedelta(days=4), NightValues(1, 0))
    first, second = item(nights(2), bad), item(nights(5), number=2)
    request = next(r for r in requests_for(first, second) if r.request.url.endswith("restrictions"))
    refused, accepted = ADAPTER.push_outcome(request, channel.answer(request.request, NOW), NOW)
    assert (refused.kind, refused.runs) == (OutcomeKind.REFUSED, (nights(2),))
    assert (refused.error, refused.error_class) == ("the channel refused values: rate", "values_refused")
    assert (accepted.kind, accepted.runs) == (OutcomeKind.ACCEPTED, second.runs)
    assert ("plan-1", bad.start) not in channel.nights


@pytest.mark.parametrize("warnings", ["text", [{}], ["text"], [{"warning": "text", "date": "not a date"}]])
def test_a_warning_that_does_not_say_what_it_is_about_refuses_everything(warnings: object) -> None:
    request, _ = requests_for(item(nights(3)), item(nights(3), number=2))
    body = json.dumps({"data": [], "meta": {"message": "Success", "warnings": warnings}}).encode()
    outcomes = ADAPTER.push_outcome(request, ChannelAnswer(200, {}, body), NOW)
    assert [(outcome.kind, outcome.runs) for outcome in outcomes] == [(OutcomeKind.REFUSED, ())] * 2


def test_the_eleventh_call_in_a_minute_is_refused_and_asks_for_a_minutes_pause() -> None:
    channel = ChannexChannel(KEY)
    _, request = requests_for(item(nights(1)))
    answers = [channel.answer(request.request, NOW) for _ in range(CALLS_A_MINUTE + 1)]
    kinds = [ADAPTER.push_outcome(request, answer, NOW)[0].kind for answer in answers]
    assert kinds == [OutcomeKind.ACCEPTED] * CALLS_A_MINUTE + [OutcomeKind.REFUSED]
    (last,) = ADAPTER.push_outcome(request, answers[-1], NOW)
    assert (last.error_class, last.retry_after_s, last.runs) == ("rate_limited", 60.0, ())
    assert channel.answer(request.request, NOW + timedelta(minutes=1)).status == 200


@pytest.mark.parametrize(
    ("answer", "error_class"),
    [
        (ChannelAnswer(200, {}, b"<html>Welcome</html>"), "not_the_api"),
        (ChannelAnswer(200, {}, b"[]"), "not_the_api"),
        (ChannelAnswer(200, {}, b'{"data": [], "errors": {"code": "x"}}'), "refused"),
        (ChannelAnswer(401, {}, b""), "unauthorized"),
        (ChannelAnswer(422, {}, b"{}"), "refused"),
        (ChannelAnswer(599, {}, b""), "channel_error"),
        (ChannelAnswer(502, {}, b"<html>"), "channel_error"),
    ],
)
def test_what_is_not_the_apis_success_accepts_nothing(answer: ChannelAnswer, error_class: str) -> None:
    request, _ = requests_for(item(nights(1)))
    (outcome,) = ADAPTER.push_outcome(request, answer, NOW)
    assert (outcome.kind, outcome.runs, outcome.error_class) == (OutcomeKind.REFUSED, (), error_class)
    assert ADAPTER.test_error(answer) is not None
    assert not ADAPTER.acked(answer)


def test_a_longer_pause_than_a_minute_is_honoured() -> None:
    request, _ = requests_for(item(nights(1)))
    (outcome,) = ADAPTER.push_outcome(request, ChannelAnswer(429, {"retry-after": "90"}, b""), NOW)
    assert outcome.retry_after_s == 90.0


def test_a_test_of_the_connection_tells_a_right_key_from_a_wrong_one() -> None:
    request = ADAPTER.test_request(TARGET, NOW)
    assert ADAPTER.test_error(ChannexChannel(KEY).answer(request, NOW)) is None
    assert ADAPTER.test_error(ChannexChannel("another").answer(request, NOW)) == "the channel answered 401"


def test_the_key_is_in_no_repr() -> None:
    assert KEY not in repr(TARGET)
    assert KEY not in repr(requests_for(item(nights(1))))


def test_the_channel_refuses_nights_of_the_past() -> None:
    past = ValueRun(TODAY - timedelta(days=1), TODAY, NightValues(1, 9000))
    request, _ = requests_for(item(past))
    (outcome,) = ADAPTER.push_outcome(request, ChannexChannel(KEY).answer(request.request, NOW), NOW)
    assert (outcome.kind, outcome.runs) == (OutcomeKind.REFUSED, ())
    assert outcome.error == "the channel refused values: date_from"
    assert past.start == date(2026, 4, 30)
