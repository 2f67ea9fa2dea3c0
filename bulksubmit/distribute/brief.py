"""What each worker of a run is told."""

from dataclasses import dataclass, fields
from typing import Any

from msgspec.structs import replace

from bulksubmit.core.account import Place
from bulksubmit.core.model import Learnt
from bulksubmit.distribute.budget import Share
from bulksubmit.distribute.messages import Blocks, Orders
from bulksubmit.ledger import ShardState
from bulksubmit.producer.spec import SourceSpec, is_url, known_fingerprints
from bulksubmit.record import Identity
from bulksubmit.settings import Settings

# What a worker is not told: it is the coordinator's business.
_OURS = frozenset(
    {
        *("concurrency", "concurrency_max", "max_rate", "max_duration_s", "rejects_bound"),
        *("rejects_path", "results_path", "on_unfinished", "dedupe", "check_first", "spool"),
        *("hold_auto_terminate", "then_terminate", "origins"),
    }
)


@dataclass(frozen=True, slots=True)
class Brief:
    """What all workers of a run have in common.

    Attributes:
        identity: The run's.
        account: Whose key signs; None for Microsoft Entra ID.
        settings: How it should go.
        events: Whether what observers are told is to be reported.
    """

    identity: Identity
    account: str | None
    settings: Settings
    events: bool

    def orders(
        self,
        state: ShardState,
        share: Share,
        *,
        learnt: Learnt | None,
        line: int | None,
        doubt_below: int,
        settled: Blocks,
        places: list[Place],
    ) -> Orders:
        """What the worker of a shard is to do.

        Args:
            state: How far the shard is.
            share: What it may do.
            learnt: What another, whose place it takes, has found out about the pace.
            line: That it begins at, if that is known.
            doubt_below: Unsettled items below may have been sent, by a worker before.
            settled: The items that are settled.
            places: Where some of its items begin.
        """
        identity, settings, shard = self.identity, self.settings, state.shard
        spec = SourceSpec.from_json(identity.source_spec)
        local = not (spec.files and is_url(spec.files[shard.file]))
        known = known_fingerprints(identity.source_files)
        asked: dict[str, Any] = {
            field.name: getattr(settings, field.name)
            for field in fields(settings)
            if field.name not in _OURS
        }
        if settings.concurrency != "auto":
            asked["concurrency"] = share.concurrency
        return Orders(
            run_id=identity.run_id,
            job_id=identity.job_id,
            endpoint=identity.endpoint,
            account=self.account,
            spec=identity.source_spec,
            shard=replace(shard, line=line),
            expected=known[shard.file] if known else None,
            settings=asked,
            share=share,
            learnt=learnt,
            counts=state.counts.numbers,
            settled=settled,
            places=places,
            doubt_below=doubt_below,
            resumed=doubt_below > 0,
            count_lines=state.lines is None and local,
            results=settings.results_path is not None,
            events=self.events,
        )
