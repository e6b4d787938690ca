"""The license's root task on several nodes: one outage, one success, one mail for all."""

import asyncio

import pytest

from harmony_agent.core.errors import Unavailable
from tests.unit.license.loop_system import DAY, Postbox, System
from tests.unit.license.support import MemoryRepository

# Few idle cycles before time moves on: nothing here comes from outside but threads, which looptime
# waits for, and months are to pass in seconds.
pytestmark = pytest.mark.looptime(noop_cycles=4)


async def test_several_nodes_share_one_outage_one_mail_and_one_ticket(
    system: System, postbox: Postbox
) -> None:
    """Three nodes without Cleo mail once; a pod that is new on the third day gets the rest."""
    system.cleo.license_network.down = True
    async with system.node("node-0") as first, system.node("node-1"), system.node("node-2"):
        await asyncio.sleep(2 * DAY)
        async with system.node("node-3") as late:
            await asyncio.sleep(60)
            assert late.status()["outage"] == first.status()["outage"]
            await asyncio.sleep(2 * DAY)
            assert late.has_ended()
    assert len(postbox.mails) == 6
    assert len(system.cleo.ticket.requests) == 1


async def test_a_success_of_another_node_counts_for_one_that_cannot_reach_the_service(
    system: System, postbox: Postbox
) -> None:
    """One license: verified by one node within the interval, it is verified for all."""
    async with system.node("node-0"):
        await asyncio.sleep(60)
    system.cleo.license_network.down = True
    async with system.node("node-1") as cut_off:
        await asyncio.sleep(60)
        assert cut_off.state == "valid"
        await asyncio.sleep(DAY + 2 * 3600)
        assert cut_off.state == "grace"


async def test_a_pod_without_a_past_reads_the_repository_before_it_judges(
    system: System, postbox: Postbox
) -> None:
    """A refusal is held back until it is known whether this license was ever verified."""
    async with system.node("node-0"):
        await asyncio.sleep(1)
    system.cleo.license.answer = "suspended"
    opened: list[MemoryRepository] = []
    async with system.node("node-1", repository=lambda: next(iter(opened), None)) as node:
        await asyncio.sleep(300)
        assert node.state == "unverified"
        assert node.exits == []
        opened.append(system.repository)
        await asyncio.sleep(10)
        assert node.state == "grace"


async def test_a_pod_that_could_not_judge_yet_has_no_past_after_a_restart_either(
    system: System, postbox: Postbox
) -> None:
    """Waiting for the repository leaves nothing behind that looks like knowledge."""
    async with system.node("node-0"):
        await asyncio.sleep(1)
    system.cleo.license.answer = "suspended"
    for _ in range(2):
        async with system.node("node-1", repository=lambda: None) as node:
            await asyncio.sleep(300)
            assert node.state == "unverified"
            assert not node.has_ended()


async def test_a_node_that_died_with_a_claim_is_stood_in_for(
    system: System, postbox: Postbox
) -> None:
    """A mail claimed by a node that never sent it is sent by another after 15 minutes."""
    system.cleo.license_network.down = True
    postbox.trouble = Unavailable("mail server away")
    async with system.node("node-0"):
        await asyncio.sleep(60)
    postbox.trouble = None
    async with system.node("node-1"):
        await asyncio.sleep(600)
        assert postbox.mails == []
        await asyncio.sleep(1800)
        assert len(postbox.mails) == 1
