"""Everything that one run, or what the store keeps of it, has to say: four tables."""

from __future__ import annotations

from collections.abc import Sequence

from ..plan import Plan
from ..record import Measurement
from .ceilings import ceilings_table
from .cost import cost_table
from .roofline import roofline_table
from .table import Table
from .throughput import throughput_table


def summary(records: Sequence[Measurement], asked: Plan) -> list[Table]:
    """Ceilings, kernels, costs and throughput of a step's records, which are not empty."""
    newest = max(records, key=lambda record: record.started_at)
    return [ceilings_table(newest), roofline_table(records), cost_table(records), throughput_table(records, asked)]
