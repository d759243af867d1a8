"""One decode run as a physical situation: which machine, how many, which model at which bits, by which engine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ...kernels.model import Model
from ..facts.envelope import Envelope
from .engine import Engine
from .runs import Runs
from .traffic import Traffic, traffic


@dataclass(frozen=True)
class Situation:
    """What a speed was, or is to be, reached with. Bits per weight are true ones, block scales included.

    Attributes:
        device: one chip.
        chips: of it.
        engine: the software.
        model: its shape.
        weight_bits: of the weights, or of the experts where only they are narrow.
        kv_bits: of the KV cache.
        prompt, generated: tokens.
        counts_prefill: the speed is generated tokens over the whole time, prefill included.
        size: weights relative to the model's, where it stands in for one whose shape is not known.
        pipeline: chips hold whole layers and work one after the other, not together.
        expert_parallel: chips hold whole experts, and each all that is no routed expert.
        is_guessed: bits or chips are not published and were inferred.
        experts_only: whether only a mixture's experts are narrow; None where the bits alone must tell, as in published rows.
    """

    device: Envelope
    chips: int
    engine: Engine
    model: Model
    weight_bits: float
    kv_bits: float = 16.0
    prompt: float = 256.0
    generated: float = 512.0
    counts_prefill: bool = False
    size: float = 1.0
    pipeline: bool = False
    expert_parallel: bool = False
    is_guessed: bool = False
    experts_only: bool | None = None

    @cached_property
    def columns(self) -> Runs:
        """The same as columns of length 1, which is where everything about it is worked out."""
        return Runs.of([self])

    @property
    def traffic(self) -> Traffic:
        return traffic(self.model)

    @property
    def body_bits(self) -> float:
        return float(self.columns.body_bits[0])

    @property
    def head_bits(self) -> float:
        return float(self.columns.head_bits[0])

    @property
    def weight_bytes(self) -> float:
        return float(self.columns.weight_bytes[0])

    @property
    def resident_gb(self) -> float:
        return float(self.columns.resident_gb[0])

    @property
    def kv_gb(self) -> float:
        return float(self.columns.kv_gb[0])

    @property
    def streams(self) -> int:
        return int(self.columns.streams[0])

    @property
    def kv_streams(self) -> int:
        return int(self.columns.kv_streams[0])

    @property
    def floor_us(self) -> float:
        return float(self.columns.floor_us[0])

    @property
    def prefill_floor_us(self) -> float:
        return float(self.columns.prefill_floor_us[0])
