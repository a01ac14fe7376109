"""An orchestrator process from start to end.

Start: 1 pools and workflows load · 2 the broker answers; its topics, rights and limits are right · 3 a producer takes
over its id · 4 the group assigns partitions, which are restored. Stop (SIGTERM, SIGINT): the transaction in hand is
finished, the group is left. A second signal exits at once: what is open is aborted by the successor.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import ExitStack
from functools import lru_cache
from typing import Any

import structlog
from confluent_kafka.admin import AdminClient

from headrace.orchestrator.core import machine
from headrace.orchestrator.core.acceptance import submission_hash
from headrace.orchestrator.core.graph import Graph, compile_workflow
from headrace.orchestrator.core.view import Environment, Limits
from headrace.orchestrator.core.window import DispatchWindow
from headrace.orchestrator.settings import Slot, claim_slot
from headrace.orchestrator.shell.assignment import Assignment
from headrace.orchestrator.shell.decider import Decider
from headrace.orchestrator.shell.encoder import DEFAULT_MAX_BYTES, Encoder
from headrace.orchestrator.shell.group_watch import GroupWatch
from headrace.orchestrator.shell.input import Input
from headrace.orchestrator.shell.intake import Intake
from headrace.orchestrator.shell.lag import LagExporter
from headrace.orchestrator.shell.log_clock import LogClock
from headrace.orchestrator.shell.loop import Loop
from headrace.orchestrator.shell.lost_tasks import LostTasks, live_of
from headrace.orchestrator.shell.membership import Membership
from headrace.orchestrator.shell.mender import Mender
from headrace.orchestrator.shell.ownership import Ownership
from headrace.orchestrator.shell.partition import Partition
from headrace.orchestrator.shell.payloads import Payloads
from headrace.orchestrator.shell.restore import Restorer
from headrace.orchestrator.shell.store import PartitionStore
from headrace.orchestrator.shell.sweeper import Sweeper
from headrace.orchestrator.shell.taking import Taking
from headrace.orchestrator.shell.tokens import counter_named, token_counter
from headrace.orchestrator.shell.workflows import WorkflowCatalogue, load_workflows
from headrace.orchestrator.shell.writer import Writer
from headrace.runtime.group_offsets import GroupReader
from headrace.runtime.health import AdminServer, Heartbeats
from headrace.runtime.kafka import ClientConfig, group_config, reader_config, transactional_config, wait_for_broker
from headrace.runtime.kafka_watch import KafkaWatch
from headrace.runtime.needs import orchestrator_needs
from headrace.runtime.object_retention import retention_problems, topic_retentions
from headrace.runtime.objects import ObjectStore, open_objects
from headrace.runtime.pools import load_pools
from headrace.runtime.settings import Settings
from headrace.runtime.start_checks import check_kafka
from headrace.runtime.topic_limits import max_message_bytes
from headrace.runtime.topic_plan import ensure_topics
from headrace.runtime.transaction import TransactionSession, abort_orphan
from headrace.schemas.errors import ConfigError, ContractError
from headrace.schemas.pools import PoolsFile

log = structlog.get_logger("headrace.orchestrator")

PREFETCH_RECORDS = 20_000
"""A few batches ahead; state, not input, is what fills an orchestrator's memory."""
RESTORE_WAIT_MS = 10
"""How long a fetch of ``state`` waits for a record that does not come."""


def now_ms() -> int:
    """Return the time."""
    return time.time_ns() // 1_000_000


def environment_for(
    settings: Settings, pools: PoolsFile, catalogue: WorkflowCatalogue, payloads: Payloads | None
) -> Environment:
    """Return what decisions need, with the functions of this process in it."""
    public = pools.public_pools

    @lru_cache(maxsize=256)
    def compile_text(text: str) -> Graph:
        return compile_workflow(json.loads(text), pools=pools.pools, tools=pools.tools, public_pools=public)

    def resolve(workflow: str | dict[str, Any], job_id: str) -> dict[str, Any]:
        return workflow if isinstance(workflow, dict) else catalogue.resolve(workflow, job_id)

    def load(ref: Any) -> bytes:
        if payloads is None:
            raise ContractError("a payload lies in an object store", "install the extra `objects`", kind="gone")
        return payloads.load(ref)

    rule, _ = token_counter()
    counters = {name: count for name in ("chars4", rule) if (count := counter_named(name)) is not None}
    limits = settings.orchestrator
    return Environment(
        pools=pools.pools,
        limits=Limits(
            max_in_flight=limits.max_in_flight,
            inline_bytes=settings.objects.inline_bytes,
            item_inline_bytes=settings.objects.item_inline_bytes,
            retention_ms=limits.retention_s * 1000,
            max_value_bytes=settings.objects.cache_bytes,
            queue_limit_ms=limits.queue_limit_s * 1000,
            lost_grace_ms=int(limits.lost_grace_s * 1000),
            prefix_keys=limits.prefix_keys,
            max_kills=limits.max_kills,
            max_stops=limits.max_stops,
        ),
        resolve=resolve,
        compile=compile_text,
        load=load,
        counters=counters,
        tokens_rule=rule,
        public_pools=public,
        objects=payloads is not None,
        expect=payloads.expect if payloads is not None else lambda _refs: None,
    )


def object_store(settings: Settings) -> ObjectStore | None:
    """Return the object store, or None where the extra is not installed.

    Raises:
        ConfigError: it cannot be opened, or keeps objects for less long than the topics that refer to them.
    """
    try:
        store = open_objects(settings)
    except ConfigError as error:
        if settings.objects.url:
            raise
        log.warning("objects.missing", error=error.message)
        return None
    kept = topic_retentions(settings)
    if problems := retention_problems(settings.objects.retention_s, kept, markers_s=settings.orchestrator.retention_s):
        raise ConfigError("; ".join(problems), "raise objects.retention_s, or lower topics.retention_ms")
    return store


class Orchestrator:
    """The parts of one instance, wired.

    Args:
        settings: the settings.
        slot: names its transactional id and its static member.
        pools: the pools file.
        environment: what decisions need.
        payloads: the object store as the loop uses it, or None.
        admin: an admin client of a broker that answers, with topics that are right.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        slot: Slot,
        pools: PoolsFile,
        environment: Environment,
        payloads: Payloads | None,
        admin: AdminClient,
    ) -> None:
        topics, names = settings.topic_names, list(pools.pools)
        self.beats = Heartbeats()
        self.working: dict[int, Partition] = {}
        transactional = transactional_config(settings, topics.transactional_id(slot.name))
        self._session = TransactionSession(transactional, track=topics.state, waiting=self._wait)
        assignment = Assignment(topics, incremental=settings.kafka.group_protocol == "consumer")
        self._membership = membership = Membership(member_config(settings, slot), assignment)
        sizes = max_message_bytes(admin, settings, names)
        inline = settings.objects.inline_bytes
        encoder = Encoder(
            topics, names, max_bytes=sizes, inline_bytes=inline, objects=payloads, partitions=settings.topics.partitions
        )
        intake = make_intake(settings, sizes.get(topics.jobs))
        decider = make_decider(settings, slot, intake=intake, encoder=encoder, working=self.working)
        by = process_name(slot)
        mender = Mender(
            decider, encoder=encoder, partitions=self.working, state=topics.state, by=by, now_ms=now_ms
        )  # fmt: skip
        self.groups = GroupReader(settings, "orchestrator-groups")
        self.watch = GroupWatch(admin, self.groups, topics, names, lambda: live_of(list(self.working.values())) > 0)
        lost = LostTasks(self.watch, decider.channel_of, environment.limits, now_ms)
        read = Input(membership, assignment=assignment, working=self.working, results=topics.results)
        taking = Taking(read, decider, machine=machine, intake=intake, partitions=self.working, now_ms=now_ms)
        group = membership.metadata
        settle = payloads.settle if payloads is not None else lambda: None
        writer = Writer(self._session, encoder=encoder, working=self.working, topics=topics, group=group, settle=settle)
        ownership = Ownership(
            self.working,
            assignment=assignment,
            membership=membership,
            restorer=make_restorer(settings, transactional, admin),
            session=self._session,
            writer=writer,
            decider=decider,
            input=read,
            topics=topics,
            lost=lost,
            make_store=lambda partition: PartitionStore(partition, environment),
        )
        self.loop = Loop(
            settings.orchestrator,
            input=read,
            membership=membership,
            ownership=ownership,
            taking=taking,
            decider=decider,
            mender=mender,
            writer=writer,
            clock=LogClock(admin, topics.results, membership),
            lost=lost,
            now_ms=now_ms,
            beat=self._beat,
        )
        self._payloads = payloads

    def _beat(self) -> None:
        self.beats.beat("loop")
        if self._payloads is not None:
            self._payloads.begin_round()

    def ready(self) -> str | None:
        """Return why this instance is not ready, or None."""
        return self.loop.ready() or (self._payloads.trouble() if self._payloads is not None else None)

    def _wait(self, seconds: float) -> None:
        self.loop.waiting(seconds)

    def run(self) -> None:
        """Work until told to stop, then leave the group.

        Raises:
            HeadraceError: it cannot start, or cannot go on.
        """
        try:
            self._session.open()
            self.loop.run()
            self._membership.leave()
        finally:
            self._session.close()
            self._membership.close()


def process_name(slot: Slot) -> str:
    """Return what dead letters call this process."""
    return f"orchestrator-{slot.name}"


def member_config(settings: Settings, slot: Slot) -> ClientConfig:
    """Return the options of the consumer of ``jobs`` and ``results``, a static member named after the slot."""
    group = settings.topic_names.orchestrator_group
    return {
        **group_config(settings, "orchestrator", group, instance=slot.name, assignor="range"),
        # Every partition is started by a seek to a known offset; one that is gone must not be skipped (B4).
        "auto.offset.reset": "error",
        "queued.min.messages": PREFETCH_RECORDS,
    }


def make_intake(settings: Settings, job_bytes: int | None) -> Intake:
    """Return what reads records; ``job_bytes`` is what the topic of jobs takes, where that is known."""
    return Intake(
        partitions=settings.topics.partitions,
        content_hash=submission_hash,
        jitter=random.random,
        max_bytes=min(DEFAULT_MAX_BYTES, job_bytes or DEFAULT_MAX_BYTES),  # The producer's own limit is the first.
    )


def make_decider(
    settings: Settings, slot: Slot, *, intake: Intake, encoder: Encoder, working: dict[int, Partition]
) -> Decider:
    """Return what decides, with the randomness of this process in it."""
    limits = settings.orchestrator
    return Decider(
        machine,
        intake=intake,
        encoder=encoder,
        window=DispatchWindow(limits.pool_window),
        partitions=working,
        topics=settings.topic_names,
        by=process_name(slot),
        max_markers=limits.max_markers,
        now_ms=now_ms,
        jitter=random.random,
    )


def make_restorer(settings: Settings, transactional: ClientConfig, admin: AdminClient) -> Restorer:
    """Return what reads changelogs and aborts what dead instances left open."""
    # It is done where the log ends, and hears of that when a fetch finds nothing more: soon, and never again.
    reader = {**reader_config(settings, "orchestrator-restore"), "fetch.wait.max.ms": RESTORE_WAIT_MS}
    return Restorer(
        reader,
        topics=settings.topic_names,
        admin=admin,
        own_id=str(transactional["transactional.id"]),
        abort=lambda transactional_id: abort_orphan(transactional, transactional_id),
    )


def run_orchestrator(settings: Settings) -> int:
    """Run one instance until a signal; return the exit code.

    Raises:
        HeadraceError: it cannot start, or cannot go on.
    """
    pools = load_pools(settings.pools_file)
    catalogue = load_workflows(
        settings.orchestrator.workflows, pools=pools.pools, tools=pools.tools, public_pools=pools.public_pools
    )
    objects = object_store(settings)
    payloads = None
    if objects is not None:
        payloads = Payloads(objects, cache_bytes=settings.objects.cache_bytes, written_s=objects.refresh_s)
    environment = environment_for(settings, pools, catalogue, payloads)
    admin = wait_for_broker(settings)
    ensure_topics(admin, settings, list(pools.pools))
    check_kafka(admin, settings, orchestrator_needs(settings, pools.pools))
    with ExitStack() as held:
        slot = claim_slot(settings)
        held.callback(slot.release)
        instance = Orchestrator(
            settings, slot=slot, pools=pools, environment=environment, payloads=payloads, admin=admin
        )
        _watch_signals(instance.loop)
        watch = KafkaWatch(admin, settings.topic_names.companions)
        watch.start()
        held.callback(watch.close)
        server = AdminServer(
            settings.admin,
            "orchestrator",
            live=instance.beats.stale,
            ready=lambda: watch.problem() or instance.ready(),
            info={"slot": slot.name},
        )
        held.callback(server.close)
        if payloads is not None:
            held.callback(payloads.close)
        held.callback(instance.groups.close)
        lag = LagExporter(
            admin, instance.groups, settings.topic_names, list(pools.pools), lambda: 0 in instance.working
        )
        lag.start()
        held.callback(lag.close)
        if objects is not None and settings.objects.sweep:
            kept_s = settings.objects.retention_s
            sweeper = Sweeper(objects, older_than_s=kept_s, responsible=lambda: 0 in instance.working)
            sweeper.start()
            held.callback(sweeper.close)
        instance.watch.start()
        held.callback(instance.watch.close)
        log.info("orchestrator.started", slot=slot.name, workflows=catalogue.refs())
        instance.run()
    log.info("orchestrator.stopped", slot=slot.name)
    return 0


def _watch_signals(loop: Loop) -> None:
    seen: list[int] = []

    def signalled(number: int, _frame: Any) -> None:
        if seen:
            os._exit(128 + number)
        seen.append(number)
        loop.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signalled)
