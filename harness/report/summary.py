"""Everything that one run, or what the store keeps of it, has to say: a list of tables."""

from __future__ import annotations

from collections.abc import Sequence

from ..predict.whole import whole
from ..steps.plan import Plan
from ..store.record import Measurement
from .ceilings import ceilings_table
from .cost import cost_table
from .peers import peers_table
from .roofline import roofline_table
from .table import Table
from .throughput import throughput_table
from .whole import whole_table


def summary(records: Sequence[Measurement], asked: Plan) -> list[Table]:
    """Ceilings, kernels, peers, costs, the whole step and throughput of a step's records, which are not empty."""
    newest = max(records, key=lambda record: record.started_at)
    compared, found = peers_table(records), whole(records, asked)
    return [
        ceilings_table(newest),
        roofline_table(records),
        *([compared] if compared else []),
        cost_table(records),
        *([whole_table(found, asked)] if found else []),
        # An encoder makes no tokens.
        *([throughput_table(records, asked)] if asked.needs else []),
    ]
