"""One decode run as a physical situation: which machine, how many, which model at which bits, by which engine."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...kernels.model import Model
from ..envelope import Envelope
from .engine import Engine
from .traffic import Traffic, kv_elements, traffic

MXFP4_BITS = 4.25
NVFP4_BITS = 4.5
Q8_0_BITS = 8.5
PLAIN_BITS = 16.0


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
    is_guessed: bool = False
    experts_only: bool | None = None

    @property
    def traffic(self) -> Traffic:
        return traffic(self.model)

    @property
    def body_bits(self) -> float:
        """Bits of what is neither expert nor LM head.

        Checkpoints in the 4-bit floating-point formats narrow a mixture's experts only (gpt-oss, DeepSeek-R1 in NVFP4).
        """
        is_told = self.weight_bits in (MXFP4_BITS, NVFP4_BITS)
        if self.model.mixture is None or not (is_told if self.experts_only is None else self.experts_only):
            return self.weight_bits
        if self.engine.gguf:
            return Q8_0_BITS if self.weight_bits == MXFP4_BITS else self.weight_bits
        return PLAIN_BITS

    @property
    def head_bits(self) -> float:
        """Bits of the LM head, which most engines leave at 16."""
        return self.body_bits if self.engine.narrow_head else max(self.body_bits, PLAIN_BITS)

    @property
    def expert_bytes(self) -> float:
        return self.size * self.traffic.experts * self.weight_bits / 8

    @property
    def weight_bytes(self) -> float:
        """Weights that a token reads."""
        read = self.traffic
        return self.size * (read.experts * self.weight_bits + read.body * self.body_bits + read.head * self.head_bits) / 8

    @property
    def least_bytes(self) -> float:
        """Weights that a token reads where the LM head is as narrow as the rest, whatever the engine does with it."""
        read = self.traffic
        return self.size * (read.experts * self.weight_bits + (read.body + read.head) * self.body_bits) / 8

    @property
    def resident_gb(self) -> float:
        """Memory that the weights take; an engine that leaves the LM head at 16 bits leaves the input embedding, too."""
        read = self.traffic
        body, vocabulary = read.resident_body * self.body_bits, read.resident_vocabulary * self.head_bits
        return self.size * (read.resident_experts * self.weight_bits + body + vocabulary) / 8e9

    @property
    def kv_bytes(self) -> float:
        """KV cache that a token reads, on average over the generated ones."""
        return kv_elements(self.model, round(self.prompt + self.generated / 2)) * self.kv_bits / 8

    @property
    def kv_gb(self) -> float:
        """Memory that the KV cache takes when the last token is generated."""
        return kv_elements(self.model, round(self.prompt + self.generated)) * self.kv_bits / 8e9

    @property
    def streams(self) -> int:
        """Chips that read their share of the weights at the same time."""
        return 1 if self.pipeline else self.chips

    @property
    def kv_streams(self) -> int:
        """Chips that split the KV cache: heads are whole, and the latent cache of MLA has one."""
        heads = 1 if self.model.latent is not None else self.model.kv_heads
        return min(self.streams, heads)

    @property
    def floor_us(self) -> float:
        """Time per token that no engine beats: weights and KV cache over the peak bandwidth of all chips."""
        return (self.least_bytes + self.kv_bytes) / (self.streams * self.device.main.bandwidth_gbs.value) / 1e3

    @property
    def prefill_floor_us(self) -> float:
        """Arithmetic of the prompt at the chips' dense peak, per generated token.

        2 FLOPs per body weight and token, and 2 n^2 d per layer for causal attention (scores and values, half masked).
        """
        if not self.counts_prefill:
            return 0.0
        weights = self.size * (self.traffic.body + self.traffic.experts)
        attention = self.prompt**2 * self.model.d_model * self.model.layers
        flops = 2 * (weights * self.prompt + attention)
        peak = self.chips * self.device.peak_flops("f16")
        return flops / peak * 1e6 / self.generated if math.isfinite(peak) else 0.0
