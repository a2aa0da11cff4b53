"""Proves the OpenTravel XML adapter's pushes against the channel's documented rules, and what its answers mean."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import pytest

from channel_sync.adapters.ota_xml import OtaXml
from channel_sync.domain.ari import ChannelTarget, NightValues, PushItem, PushRequest, ValueRun, value_runs
from channel_sync.domain.pushes import ChannelAnswer, OutcomeKind
from tests.channel_sync.channels.ota_xml import OTA, OtaXmlChannel

SECRET = "pms-user:the password"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TODAY = NOW.date()
TARGET = ChannelTarget("https://channel.example/hotels/ota/", SECRET, {})
ADAPTER = OtaXml()
ROOMS = {("H", "room-1"): ("plan-1",), ("H", "room-2"): ("plan-2",), ("J", "room-3"): ("plan-3",)}
SUCCESS = '<{name} xmlns="http://www.opentravel.org/OTA/2003/05" Version="1">{content}</{name}>'


def channel() -> OtaXmlChannel:
    return OtaXmlChannel(SECRET, dict(ROOMS))


def nights(count: int, **values: Any) -> ValueRun:
    return ValueRun(TODAY, TODAY + timedelta(days=count), NightValues(**{"available": 1, "rate_minor": 9000, **values}))


def item(*runs: ValueRun, number: int = 1, plan: bool = True, hotel: str = "H", currency: str = "EUR") -> PushItem:
    return PushItem(
        UUID(int=number), 7, f"{hotel}/room-{number}", f"plan-{number}" if plan else None, currency, tuple(runs)
    )


def requests_for(*items: PushItem) -> tuple[PushRequest, ...]:
    return ADAPTER.push_requests(TARGET, items, NOW)


def kinds(requests: tuple[PushRequest, ...]) -> list[str]:
    return [request.request.url.removeprefix("https://channel.example/hotels/ota/OTA_Hotel") for request in requests]


def answered(name: str, content: str) -> ChannelAnswer:
    return ChannelAnswer(200, {}, SUCCESS.format(name=name, content=content).encode())


def test_a_full_sync_of_a_year_is_two_calls_after_which_the_channel_holds_every_value() -> None:
    wanted = [
        NightValues(n % 2, 9000 + n, 1 + n % 3, 1 + n % 2, 1 + n % 30, n % 5 == 0, n % 7 == 0, n % 11 == 0)
        for n in range(365)
    ]
    holder = channel()
    requests = requests_for(item(*value_runs(wanted, TODAY)))
    assert kinds(requests) == ["AvailNotif", "RateAmountNotif"]
    for request in requests:
        (outcome,) = ADAPTER.push_outcome(request, holder.answer(request.request, NOW), NOW)
        assert (outcome.kind, outcome.runs, outcome.error) == (OutcomeKind.ACCEPTED, value_runs(wanted, TODAY), None)
    for n, values in enumerate(wanted):
        night = TODAY + timedelta(days=n)
        assert holder.nights["room-1", None, night] == {"BookingLimit": str(values.available)}
        assert holder.nights["room-1", "plan-1", night] == {
            "AmountAfterTax": str(values.rate_minor),
            "DecimalPlaces": "2",
            "CurrencyCode": "EUR",
            "SetMinLOS": str(values.min_stay_through),
            "SetForwardMinStay": str(values.min_stay_arrival),
            "SetForwardMaxStay": str(values.max_stay),
            "Room": "Close" if values.stop_sell else "Open",
            "Arrival": "Close" if values.closed_to_arrival else "Open",
            "Departure": "Close" if values.closed_to_departure else "Open",
        }


def test_ranges_end_with_their_last_night_and_join_where_a_part_tells_no_difference() -> None:
    end = TODAY + timedelta(days=2)
    split = (
        ValueRun(TODAY, end, NightValues(0, 9000)),
        ValueRun(end, end + timedelta(days=1), NightValues(0, 9900)),
    )
    availability, rates = (ElementTree.fromstring(r.request.body) for r in requests_for(item(*split)))
    assert {control.get("End") for control in availability.iter(f"{OTA}StatusApplicationControl")} == {"2026-05-03"}
    ends = [control.get("End") for control in rates.iter(f"{OTA}StatusApplicationControl")]
    assert ends == ["2026-05-02", "2026-05-03"]


def test_closing_goes_first_and_nights_that_only_open_get_their_price_first() -> None:
    assert kinds(requests_for(item(nights(2, available=0)))) == ["AvailNotif", "RateAmountNotif"]
    assert kinds(requests_for(item(nights(2)))) == ["RateAmountNotif", "AvailNotif"]


def test_a_rule_that_is_gone_is_told_as_the_value_that_restricts_nothing() -> None:
    holder = channel()
    for run in (nights(1, min_stay_arrival=3, min_stay_through=2, max_stay=9, stop_sell=True), nights(1)):
        for request in requests_for(item(run)):
            holder.answer(request.request, NOW)
    told = holder.nights["room-1", "plan-1", TODAY]
    stays = (told["SetForwardMinStay"], told["SetMinLOS"], told["SetForwardMaxStay"], told["Room"])
    assert stays == ("1", "1", "0", "Open")


def test_a_listing_without_rate_plan_gets_its_limit_alone_and_one_without_price_no_price() -> None:
    holder = channel()
    requests = requests_for(item(nights(1, rate_minor=None)), item(nights(1), number=2, plan=False))
    assert kinds(requests) == ["AvailNotif"]
    assert holder.answer(requests[0].request, NOW).status == 200
    assert ("room-2", None, TODAY) in holder.nights
    assert "AmountAfterTax" not in holder.nights["room-1", "plan-1", TODAY]
    assert not [key for key in holder.nights if key[:2] == ("room-2", "plan-2")]


def test_listings_of_two_hotels_never_share_a_call() -> None:
    requests = requests_for(item(nights(1)), item(nights(1), number=3, hotel="J"), item(nights(1), number=2))
    covered = sorted({tuple(covers.listing_id.int for covers in request.covers) for request in requests})
    assert covered == [(1, 2), (3,)]
    assert {request.bucket.partition("/")[2] for request in requests} == {"H", "J"}


def test_every_listing_of_a_large_hotel_is_in_one_call_of_each_kind() -> None:
    requests = requests_for(*(item(nights(1), number=number) for number in range(1, 26)))
    for kind in ("AvailNotif", "RateAmountNotif"):
        calls = [request for request in requests if request.request.url.endswith(kind)]
        assert [len(call.covers) for call in calls] == [10, 10, 5]
        assert {covers.listing_id.int for call in calls for covers in call.covers} == set(range(1, 26))


@pytest.mark.parametrize(("currency", "digits"), [("EUR", "2"), ("JPY", "0"), ("KWD", "3")])
def test_prices_say_how_many_of_their_digits_are_decimals(currency: str, digits: str) -> None:
    rates = ElementTree.fromstring(requests_for(item(nights(1), currency=currency))[0].request.body)
    (amount,) = rates.iter(f"{OTA}BaseByGuestAmt")
    assert (amount.get("AmountAfterTax"), amount.get("DecimalPlaces")) == ("9000", digits)


def test_a_warning_refuses_its_nights_of_its_listing_and_nothing_else() -> None:
    holder = channel()
    bad = ValueRun(TODAY + timedelta(days=2), TODAY + timedelta(days=4), NightValues(1, 0))
    first, second = item(nights(2), bad), item(nights(5), number=2)
    request = next(r for r in requests_for(first, second) if r.request.url.endswith("RateAmountNotif"))
    refused, accepted = ADAPTER.push_outcome(request, holder.answer(request.request, NOW), NOW)
    assert (refused.kind, refused.runs) == (OutcomeKind.REFUSED, (nights(2),))
    assert (refused.error, refused.error_class) == ("the channel refused values: 320", "values_refused")
    assert (accepted.kind, accepted.runs) == (OutcomeKind.ACCEPTED, second.runs)
    assert ("room-1", "plan-1", bad.start) not in holder.nights


def test_a_room_the_channel_does_not_know_is_refused_and_the_others_are_not() -> None:
    known, unknown = item(nights(3)), item(nights(3), number=9)
    for request in requests_for(known, unknown):
        accepted, refused = ADAPTER.push_outcome(request, channel().answer(request.request, NOW), NOW)
        assert (accepted.kind, accepted.runs) == (OutcomeKind.ACCEPTED, known.runs)
        assert (refused.kind, refused.runs) == (OutcomeKind.REFUSED, ())


@pytest.mark.parametrize("record", ["", 'RecordID=""', 'RecordID="999"', 'RecordID="x"'])
def test_a_warning_that_does_not_say_what_it_is_about_refuses_everything(record: str) -> None:
    request = requests_for(item(nights(3)), item(nights(3), number=2))[0]
    warning = f'<Success/><Warnings><Warning Type="3" ShortText="of a guest" {record}/></Warnings>'
    outcomes = ADAPTER.push_outcome(request, answered("OTA_HotelRateAmountNotifRS", warning), NOW)
    assert [(outcome.kind, outcome.runs) for outcome in outcomes] == [(OutcomeKind.REFUSED, ())] * 2
    assert "guest" not in str(outcomes)


def test_the_channel_refuses_nights_of_the_past_and_a_hotel_of_others() -> None:
    past = ValueRun(TODAY - timedelta(days=2), TODAY, NightValues(1, 9000))
    for request in requests_for(item(past)):
        (outcome,) = ADAPTER.push_outcome(request, channel().answer(request.request, NOW), NOW)
        assert (outcome.kind, outcome.runs) == (OutcomeKind.REFUSED, ())
    for request in requests_for(item(nights(1), hotel="Z")):
        (outcome,) = ADAPTER.push_outcome(request, channel().answer(request.request, NOW), NOW)
        assert (outcome.kind, outcome.error_class) == (OutcomeKind.REFUSED, "unauthorized")
        assert outcome.error == "the channel answered with errors: 497"


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><OTA_HotelRateAmountNotifRS><Success/>&a;</OTA_HotelRateAmountNotifRS>'


@pytest.mark.parametrize(
    ("answer", "error_class"),
    [
        (ChannelAnswer(200, {}, b"<html>Welcome</html>"), "not_the_api"),
        (ChannelAnswer(200, {}, b"<!DOCTYPE html><html></html>"), "not_the_api"),
        (ChannelAnswer(200, {}, b"{}"), "not_the_api"),
        (ChannelAnswer(200, {}, b""), "not_the_api"),
        (ChannelAnswer(200, {}, BOMB), "not_the_api"),
        (answered("OTA_HotelRateAmountNotifRS", ""), "not_the_api"),
        (answered("OTA_HotelResNotifRS", "<Success/>"), "not_the_api"),
        (answered("OTA_HotelRateAmountNotifRS", "<Errors/>"), "refused"),
        (answered("OTA_HotelRateAmountNotifRS", '<Errors><Error Code="320"/><Error Code="448"/></Errors>'), "refused"),
        (answered("OTA_HotelRateAmountNotifRS", '<Errors><Error Type="1" Code="448"/></Errors>'), "channel_error"),
        (ChannelAnswer(401, {}, b""), "unauthorized"),
        (ChannelAnswer(429, {}, b""), "rate_limited"),
        (ChannelAnswer(400, {}, answered("OTA_HotelRateAmountNotifRS", "<Success/>").body), "refused"),
        (ChannelAnswer(503, {}, b"<html>"), "channel_error"),
    ],
)
def test_what_is_not_the_messages_success_accepts_nothing(answer: ChannelAnswer, error_class: str) -> None:
    request = requests_for(item(nights(1)))[0]
    (outcome,) = ADAPTER.push_outcome(request, answer, NOW)
    assert (outcome.kind, outcome.runs, outcome.error_class) == (OutcomeKind.REFUSED, (), error_class)
    assert ADAPTER.test_error(answer) is not None


def test_a_pause_the_channel_asks_for_is_honoured() -> None:
    request = requests_for(item(nights(1)))[0]
    (outcome,) = ADAPTER.push_outcome(request, ChannelAnswer(429, {"retry-after": "90"}, b""), NOW)
    assert outcome.retry_after_s == 90.0


def test_a_test_of_the_connection_tells_a_right_password_from_a_wrong_one_and_takes_nothing_from_the_queue() -> None:
    holder = channel()
    request = ADAPTER.test_request(TARGET, NOW)
    assert request.method == "GET"
    assert ADAPTER.test_error(holder.answer(request, NOW)) is None
    assert ADAPTER.test_error(OtaXmlChannel("another:one", {}).answer(request, NOW)) == "the channel answered 401"


def test_a_token_is_sent_as_one_and_no_secret_is_in_a_repr() -> None:
    target = ChannelTarget(TARGET.endpoint_url, "a-token", {"authentication": "token", "target": "Test"})
    (request, _) = ADAPTER.push_requests(target, [item(nights(1))], NOW)
    assert request.request.headers["Authorization"] == "Bearer a-token"
    assert ElementTree.fromstring(request.request.body).get("Target") == "Test"
    for secret in ("a-token", SECRET, "cG1zLXVzZXI6"):
        assert secret not in repr((target, request, TARGET, requests_for(item(nights(1)))))


def test_a_listing_named_with_what_xml_cannot_write_is_refused_by_the_channel_alone() -> None:
    strange = PushItem(UUID(int=5), 1, "H/\x01 ", " \x02", "EUR", (nights(1),))
    whole = PushItem(UUID(int=6), 1, "H", "plan-1", "EUR", (nights(1),))
    for request in requests_for(item(nights(1)), strange, whole):
        outcomes = ADAPTER.push_outcome(request, channel().answer(request.request, NOW), NOW)
        assert [outcome.kind for outcome in outcomes] == [
            OutcomeKind.ACCEPTED,
            OutcomeKind.REFUSED,
            OutcomeKind.REFUSED,
        ]
