"""The schemas of every verb's configuration: what an override may name, and of which type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class Timing:
    """How long and how precisely to measure. See `harness.measure.rounds.Stopping`."""

    precision: float = MISSING
    budget_s: float = MISSING
    min_samples: int = MISSING
    max_samples: int = MISSING
    residency: str = MISSING
    timer: str = "auto"


@dataclass
class FormatChoice:
    """Number formats of weights, KV cache and activations."""

    weight: str = MISSING
    kv: str = MISSING
    activation: str = "f32"


@dataclass
class KernelChoice:
    """Ops to measure."""

    ops: list[str] = field(default_factory=list)


@dataclass
class Question:
    """What every verb that speaks of a decode step is asked about."""

    model: dict[str, Any] = field(default_factory=dict)
    format: FormatChoice = field(default_factory=FormatChoice)
    device: Any = None
    devices: int = 1
    targets: list[str] = field(default_factory=list)
    context: int = MISSING
    sampling: str = "greedy"
    fused: bool = False
    results: str = MISSING
    output: str | None = None


@dataclass
class Blocks:
    """Sizes that kernels cut their work by; null leaves a kernel its own. See `kernels.blocks`."""

    gemv_grain_bytes: int | None = None
    gemv_tile_bytes: int | None = None
    gemv_warps: int | None = None
    gemv_stages: int | None = None
    attention_tile_bytes: int | None = None
    attention_warps: int | None = None
    attention_stages: int | None = None


@dataclass
class Memory:
    """`conf/bench.yaml`, `memory`."""

    budget_gb: float | None = None


@dataclass
class Bench(Question):
    """`roofcast bench`."""

    blocks: Blocks = field(default_factory=Blocks)
    kernel: KernelChoice = field(default_factory=KernelChoice)
    timing: Timing = field(default_factory=Timing)
    implementation: str = "default"
    peers: str = "none"
    weights: str | None = None
    seed: int = 0
    memory: Memory = field(default_factory=Memory)
    experiment: Any = None
    isolation: str = "none"
    xla_flags: str | None = None
    environment: Any = None
    compile_cache: bool = True
    timeout: float | None = None
    force: bool = False


@dataclass
class Only:
    """What a grid is narrowed to; everything where a list is empty."""

    model: list[str] = field(default_factory=list)
    device: list[str] = field(default_factory=list)
    format: list[str] = field(default_factory=list)
    kv: str | None = None
    context: list[str] = field(default_factory=list)


@dataclass
class Table(Question):
    """`roofcast table`."""

    experiment: Any = None
    grid: bool = False
    only: Only = field(default_factory=Only)
    engine: str | None = None
    prompt: int | None = None
    parallel: str = "auto"
    price: float | None = None
    print: str = "table"
    imported: bool = True


@dataclass
class Predict:
    """`roofcast predict`."""

    model: dict[str, Any] = field(default_factory=dict)
    format: FormatChoice = field(default_factory=FormatChoice)
    device: Any = None
    devices: int | None = None
    parallel: str = "auto"
    engine: str | None = None
    context: int = MISSING
    prompt: int = MISSING
    price: float | None = None
    imported: bool = True
    results: str = MISSING
    output: str | None = None


@dataclass
class Claims:
    """`roofcast claims`."""

    results: str = MISSING
    output: str | None = None


@dataclass
class Report:
    """`roofcast report`."""

    models: list[str] = MISSING
    formats: list[str] = MISSING
    contexts: list[int] = MISSING
    devices: list[int] = MISSING
    compare: list[str] = MISSING
    prompt: int = MISSING
    price: float | None = None
    results: str = MISSING
    output: str = MISSING
    plots: str | None = None


@dataclass
class Doctor:
    """`roofcast doctor`."""

    results: str = MISSING


@dataclass
class Import:
    """`roofcast import`."""

    files: list[str] = field(default_factory=list)
    model: Any = None
    device: Any = None
    devices: int | None = None
    engine: str | None = None
    format: Any = None
    weight_bits: float | None = None
    kv_bits: float | None = None
    input_len: int | None = None
    output_len: int | None = None
    tokens: int | None = None
    date: str | None = None
    results: str = MISSING


@dataclass
class Validate:
    """`roofcast validate`."""

    published: str | None = None
    kernels: str | None = None
    steps: str | None = None
    rows: str | None = None
    leave_one_out: bool = False
    seed: int = 0
    results: str = MISSING


@dataclass
class Gate:
    """`roofcast gate`."""

    model: dict[str, Any] = field(default_factory=dict)
    format: FormatChoice = field(default_factory=FormatChoice)
    kernel: KernelChoice = field(default_factory=KernelChoice)
    base: str | None = None
    head: str | None = None
    suite: str | None = None
    also: str | None = None
    harness: str = "gate"
    save: str | None = None
    context: int = MISSING
    fused: bool = False
    sampling: str = "greedy"
    implementation: str = "default"
    residency: str = "cold"
    least: float = MISSING
    least_compile: float = MISSING
    false_discovery: float = MISSING
    confirmations: int = MISSING
    most_confirmations: int = MISSING
    spare_cores: int = MISSING
    inconclusive_fails: bool = False
    budget_s: float = MISSING
    least_quads: int = MISSING
    most_quads: int = MISSING
    compile_pairs: int = MISSING
    kernel_limit_s: float = MISSING
    output: str | None = None
    results: str = MISSING
    seed: int = 0


@dataclass
class GateSelftest(Gate):
    """`roofcast gate selftest`."""

    comparisons: int = MISSING
    slowdowns: list[float] = MISSING
    load: bool = MISSING
    peer_s: float = MISSING


@dataclass
class History:
    """`roofcast history`."""

    quantity: str = MISSING
    least: float = MISSING
    significance: float = MISSING
    results: str = MISSING
    output: str | None = None


SCHEMAS = {
    "bench": Bench,
    "table": Table,
    "predict": Predict,
    "claims": Claims,
    "report": Report,
    "doctor": Doctor,
    "validate": Validate,
    "import": Import,
    "gate": Gate,
    "gate_selftest": GateSelftest,
    "history": History,
}
"""Verb -> schema."""
