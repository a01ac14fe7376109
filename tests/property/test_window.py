"""Laws of the dispatch window."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace.orchestrator.core.window import Demand, DispatchWindow, Standing

POOLS = ("small", "large")


class Dealing(RuleBasedStateMachine):
    """Jobs come, get grants, see tasks end, and go; a plain count of what is out is the judge."""

    LIMIT = 20

    def __init__(self) -> None:
        super().__init__()
        self.window = DispatchWindow(self.LIMIT)
        self.waiting: dict[str, int] = {}
        self.live: dict[str, int] = {}
        self.fields: dict[str, tuple[str, str, int]] = {}

    def _update(self, job: str) -> None:
        tenant, pool, priority = self.fields[job]
        demand = Demand("step", pool, self.live[job], self.waiting[job])
        self.window.update(job, Standing(tenant, "batch", priority, (demand,)))

    def _out(self, pool: str) -> int:
        return sum(live for job, live in self.live.items() if self.fields[job][1] == pool)

    @rule(
        job=st.sampled_from("abcdefgh"),
        tenant=st.sampled_from("xyz"),
        pool=st.sampled_from(POOLS),
        priority=st.integers(-2, 2),
        tasks=st.integers(1, 60),
    )
    def submit(self, job: str, tenant: str, pool: str, priority: int, tasks: int) -> None:
        if job not in self.fields:
            self.fields[job], self.waiting[job], self.live[job] = (tenant, pool, priority), tasks, 0
            self._update(job)

    @rule(at_most=st.integers(1, 50))
    def deal(self, at_most: int) -> None:
        grants = self.window.deal(at_most)
        assert sum(grant.count for grant in grants) <= at_most
        for grant in grants:
            assert 0 < grant.count <= self.waiting[grant.job_id]
            self.waiting[grant.job_id] -= grant.count
            self.live[grant.job_id] += grant.count
        for grant in grants:
            self._update(grant.job_id)

    @precondition(lambda self: any(self.live.values()))
    @rule(data=st.data())
    def end_a_task(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(job for job, live in self.live.items() if live)))
        self.live[job] -= 1
        self._update(job)

    @rule(job=st.sampled_from("abcdefgh"))
    def end_a_job(self, job: str) -> None:
        if self.fields.pop(job, None):
            del self.waiting[job], self.live[job]
            self.window.update(job, None)

    @rule()
    def an_aborted_batch_sets_the_same_standing_again(self) -> None:
        for job in self.fields:
            self._update(job)

    @invariant()
    def the_window_agrees_with_the_count_and_is_never_exceeded(self) -> None:
        for pool in POOLS:
            assert self.window.live(pool, "batch") == self._out(pool) <= self.LIMIT

    @invariant()
    def room_is_never_left_while_somebody_waits(self) -> None:
        for pool in POOLS:
            held = self.window.held_back().get((pool, "batch"), 0)
            waiting = sum(count for job, count in self.waiting.items() if self.fields[job][1] == pool)
            assert held == waiting


TestDealing = Dealing.TestCase


def deal_all(window: DispatchWindow, standings: dict[str, Standing], rounds: int) -> list[str]:
    order: list[str] = []
    for _ in range(rounds):
        for grant in window.deal(10_000):
            order.append(grant.job_id)
            standing = standings[grant.job_id]
            (demand,) = standing.demands
            left = Demand(demand.step, demand.pool, 0, demand.ready - grant.count)
            standings[grant.job_id] = Standing(standing.tenant, standing.lane, standing.priority, (left,))
            window.update(grant.job_id, standings[grant.job_id])
    return order


@given(st.integers(1, 6), st.integers(1, 5))
def test_everything_that_waits_is_dealt_in_the_end(jobs: int, tenants: int) -> None:
    window = DispatchWindow(40)
    standings = {
        f"j{number}": Standing(f"t{number % tenants}", "batch", 0, (Demand("s", "small", 0, 100),))
        for number in range(jobs)
    }
    for job, standing in standings.items():
        window.update(job, standing)
    deal_all(window, standings, 200)
    assert all(standing.demands[0].ready == 0 for standing in standings.values())


def test_a_small_job_of_another_tenant_is_served_in_the_first_round() -> None:
    window = DispatchWindow(40)
    window.update("huge", Standing("a", "batch", 0, (Demand("s", "small", 0, 100_000),)))
    window.update("lone", Standing("b", "batch", 0, (Demand("s", "small", 0, 1),)))
    assert "lone" in {grant.job_id for grant in window.deal(1_000)}


def test_jobs_of_one_tenant_take_turns_and_the_higher_priority_goes_first() -> None:
    window = DispatchWindow(1_000)
    standings = {
        "first": Standing("a", "batch", 0, (Demand("s", "small", 0, 64),)),
        "second": Standing("a", "batch", 0, (Demand("s", "small", 0, 64),)),
        "urgent": Standing("a", "batch", 5, (Demand("s", "small", 0, 16),)),
    }
    for job, standing in standings.items():
        window.update(job, standing)
    assert deal_all(window, standings, 5) == ["urgent", "first", "second", "first", "second"]


def test_a_job_that_is_held_is_granted_nothing_until_it_stands_again_and_what_it_has_out_still_counts() -> None:
    window = DispatchWindow(10)
    standing = Standing("t", "batch", 0, (Demand("s", "p", live=4, ready=6),))
    window.update("a", standing)
    window.hold("a")
    window.hold("unknown")
    assert window.deal(100) == []
    window.update("b", Standing("t", "batch", 0, (Demand("s", "p", live=0, ready=100),)))
    assert [(grant.job_id, grant.count) for grant in window.deal(100)] == [("b", 6)]
    window.update("b", None)
    window.update("a", standing)
    assert [(grant.job_id, grant.count) for grant in window.deal(100)] == [("a", 6)]
