"""Proves that caches live through a broker that dies under traffic, and through topics that are made anew under them.

Nobody restarts a cache here: each must notice by itself what happened, and go on. Meanwhile no answer is older than its
question allows, or other than its version.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from contracts.topics import BOOKING_PROPERTIES, BOOKING_RESERVATIONS
from deploy.local.journey_client import Agency, NotYet, until
from deploy.local.kafka import KAFKA
from tests.availability.proofs.agreement import require_agreement, require_equal
from tests.availability.proofs.faults import CHANGES, Repeater, asleep, busy, make_anew
from tests.availability.proofs.stage import SCALE, OneReplica, Stage
from tests.e2e.infra.tcp_proxy import TcpProxy

STUCK = "no record arrived, reading on with a new consumer"
REPEATED = pytest.mark.parametrize("repetition", range(SCALE))
pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]


@REPEATED
async def test_a_broker_that_dies_under_traffic_is_survived_by_a_consumer_that_never_hears_of_it_too(
    stage: Stage, agency: Agency, report_hits: Callable[[int, int], None], repetition: int
) -> None:
    """The connections of one cache go silent with the broker: nothing it waits for ever comes, not even an error."""
    host, port = stage.proxied_bootstrap.split(":")
    async with (
        TcpProxy(host, int(port), stage.proxied_port) as proxy,
        stage.replica("behind-a-proxy", KAFKA_BOOTSTRAP_SERVERS=f"{host}:{stage.proxied_port}") as proxied,
    ):
        replicas = [*stage.replicas, proxied]
        pids = {replica.name: stage.supervisor.pid(replica.name) for replica in replicas}
        async with busy(stage, agency, replicas) as (traffic, watch):
            assert any(connection.passed["to_client"] for connection in proxy.connections)
            lost = list(proxy.connections)
            proxy.lose()
            await stage.kill(KAFKA)
            await traffic.after(CHANGES)
            await stage.restart(KAFKA)
            await traffic.after(CHANGES)
            await until(lambda: _noticed(stage, proxied), "the consumer to be replaced")
        await require_agreement(stage, agency, traffic.places, replicas)
        # Silent to the end: it was the cache that gave these connections up.
        assert all(connection.is_lost for connection in lost)
        assert {replica.name: stage.supervisor.pid(replica.name) for replica in replicas} == pids
        report_hits(1, stage.log_of(proxied.name).count(STUCK))
        assert watch.counts["ledger"] > 0


async def _noticed(stage: Stage, replica: OneReplica) -> None:
    if STUCK not in stage.log_of(replica.name):
        raise NotYet(stage.log_of(replica.name)[-500:])


@REPEATED
async def test_topics_that_are_deleted_and_made_anew_under_traffic_are_survived(
    stage: Stage, agency: Agency, repetition: int
) -> None:
    """The change log under caches that read and under caches that sleep, then the snapshots, published again."""
    async with busy(stage, agency, stage.replicas) as (traffic, _):
        await make_anew(stage, BOOKING_RESERVATIONS.name)
        await traffic.after(CHANGES)
        await require_equal(stage, stage.replicas)

        with asleep(stage, stage.replicas):
            ends = await stage.topics.ends([BOOKING_RESERVATIONS.name])
            await make_anew(stage, BOOKING_RESERVATIONS.name)
            await traffic.after(CHANGES)
            # So their positions lie within the new log, and nothing says that it is another than they had read.
            async with Repeater(stage) as repeater:
                for place, end in ends.items():
                    await repeater.repeat(place.partition, end)
        await require_equal(stage, stage.replicas)

        await make_anew(stage, BOOKING_PROPERTIES.name)
        await traffic.after(CHANGES)
        await stage.command("republish", "--all", "--wait")
    await require_agreement(stage, agency, traffic.places)


@REPEATED
async def test_versions_that_jump_under_running_caches_replace_what_they_hold(
    stage: Stage, agency: Agency, repetition: int
) -> None:
    """As after a restore from backup: no event says so, and the next ones are far ahead of what caches hold."""
    async with busy(stage, agency, stage.replicas) as (traffic, _):
        before = [place.version for place in traffic.places]
        await stage.command("bump-versions", "--yes")
        await traffic.after(CHANGES)
    ledger = await require_equal(stage, stage.replicas)
    jumped = [ledger[place.property_id][0] - version for place, version in zip(traffic.places, before, strict=True)]
    assert min(jumped) > 10**6, "every version has jumped, written to since or not"
    await require_agreement(stage, agency, traffic.places)
