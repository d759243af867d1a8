"""Our analytic cost beside XLA's own analyses, and the gap in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...kernels.op import Workload

WORTH_A_WORD = 1.25
"""XLA's count may differ by this factor before it is explained: it counts temporaries that we rightly leave out."""


@dataclass(frozen=True)
class XlaCost:
    """What XLA says of a compiled program. None where it says nothing.

    Attributes:
        flops, bytes: from `cost_analysis()`, a static count over the optimised program.
        argument_bytes, output_bytes, temporary_bytes, alias_bytes, peak_bytes: from `memory_analysis()`.
        note: why the counts differ from the analytic ones; empty where they agree.
    """

    flops: float | None = None
    bytes: float | None = None
    argument_bytes: int | None = None
    output_bytes: int | None = None
    temporary_bytes: int | None = None
    alias_bytes: int | None = None
    peak_bytes: int | None = None
    note: str = ""


def xla_cost(program: Any, workload: Workload, backend: str) -> XlaCost:
    """Reads both analyses of a compiled call and explains the gap to the op's own cost."""
    analysis = program.cost_analysis() or {}
    memory = program.memory_analysis()
    flops, moved = analysis.get("flops"), analysis.get("bytes accessed")
    # A custom call counts as -1 in both, and what else the program does is added to that.
    if flops is None or moved is None or flops < 0 or moved < 0:
        flops = moved = None
    alias = getattr(memory, "alias_size_in_bytes", None)
    return XlaCost(
        flops=flops,
        bytes=moved,
        argument_bytes=getattr(memory, "argument_size_in_bytes", None),
        output_bytes=getattr(memory, "output_size_in_bytes", None),
        temporary_bytes=getattr(memory, "temp_size_in_bytes", None),
        alias_bytes=alias,
        peak_bytes=getattr(memory, "peak_memory_in_bytes", None),
        note=explain(
            workload,
            flops,
            moved,
            backend=backend,
            alias_bytes=alias,
            has_custom_call="custom-call" in (program.as_text() or ""),
        ),
    )


def explain(
    workload: Workload,
    flops: float | None,
    moved: float | None,
    *,
    backend: str,
    alias_bytes: int | None,
    has_custom_call: bool,
) -> str:
    """The reasons that apply, as sentences; empty where XLA's counts are within `WORTH_A_WORD` of the op's."""
    cost = workload.cost()
    if moved is None or flops is None:
        return (
            "XLA gives no cost for this program: it cannot see into a custom call." if has_custom_call else "XLA gives no cost."
        )
    if _close(moved, cost.bytes) and _close(flops, cost.flops):
        return ""
    reasons = []
    if has_custom_call:
        reasons.append("the body is a custom call, which XLA counts as its operands and results and no FLOPs")
    if _narrow(workload) and backend == "cpu" and moved > WORTH_A_WORD * cost.bytes and not has_custom_call:
        reasons.append("XLA:CPU widens 16-bit operands to float32 and counts the converted copies")
    if workload.donated and not alias_bytes:
        reasons.append("the cache was not donated, so the whole buffer is copied")
    if workload.touched() and moved > WORTH_A_WORD * cost.bytes:
        reasons.append("XLA counts the whole operand where the op touches a few rows of it")
    if not reasons and moved > WORTH_A_WORD * cost.bytes:
        reasons.append("XLA counts intermediate results between fusions that the op's minimum does not have")
    if not reasons and moved < cost.bytes / WORTH_A_WORD:
        reasons.append("XLA counts a loop's body once, however often it runs")
    if not _close(flops, cost.flops) and not has_custom_call:
        reasons.append("XLA counts converts, comparisons and index arithmetic as FLOPs, and transcendentals apart")
    ratio = _ratio(moved, cost.bytes)
    return f"XLA counts {ratio} the bytes and {_ratio(flops, cost.flops)} the FLOPs: " + "; ".join(reasons) + "."


def _narrow(workload: Workload) -> bool:
    return any(tensor.format in ("bf16", "f16") for tensor in workload.operands().values())


def _close(theirs: float, ours: float) -> bool:
    if ours == 0:
        return theirs == 0
    return 1 / WORTH_A_WORD <= theirs / ours <= WORTH_A_WORD


def _ratio(theirs: float, ours: float) -> str:
    return f"{theirs / ours:.2f}x" if ours else f"{theirs:g} where the op has 0 of"
