"""Weights of a Hugging Face folder under the names of a decode step: Llama's layout, which Mistral and Qwen share.

A safetensors file is eight bytes that say how long its header is, a JSON header, and the numbers as they lie in memory
(github.com/huggingface/safetensors, README). NumPy reads that without a further library, one tensor at a time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from ..formats import format_named
from ..norm.reference import EPSILON
from ..op import Tensor
from ..rope.reference import BASE as ROPE_BASE
from .workload import DecodeStep

_DTYPES: Mapping[str, Any] = {"BF16": ml_dtypes.bfloat16, "F16": np.float16, "F32": np.float32}
_OUTSIDE = {
    "embedding.table": ("model.embed_tokens.weight",),
    "final_norm.scale": ("model.norm.weight",),
    "lm_head.weight": ("lm_head.weight",),
}
_INSIDE = {
    "first_norm.scale": ("input_layernorm.weight",),
    "attention_norm.scale": ("input_layernorm.weight",),
    "qkv.weight": ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
    "qkv.bias": ("self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"),
    "qk_norm.scale": ("self_attn.q_norm.weight",),
    "qk_norm.key_ratio": ("self_attn.k_norm.weight",),
    "attention_out.weight": ("self_attn.o_proj.weight",),
    "ffn_norm.scale": ("post_attention_layernorm.weight",),
    "ffn_gate_up.weight": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "ffn_down.weight": ("mlp.down_proj.weight",),
}


class Checkpoint:
    """The tensors of all `*.safetensors` files in a folder; only headers are read until one is asked for.

    Raises:
        ValueError: if there are none, or a file is not what it should be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[str, tuple[Path, int, Mapping[str, Any]]] = {}
        for file in sorted(folder.glob("*.safetensors")):
            self._read_header(file)
        if not self._places:
            raise ValueError(f"weights must be a folder with *.safetensors files; got {str(folder)!r}")

    def check(self, workload: DecodeStep) -> None:
        """Raises ValueError unless every weight of the step is there, of its shape and of a type that is read."""
        if workload.fused:
            raise ValueError("fused must be false where weights come from a folder; got true")
        for name, tensor in _weights(workload).items():
            parts = [self._shape(source) for source in _sources(name)]
            shape = (sum(part[0] for part in parts), *parts[0][1:])
            if shape != tensor.shape:
                wanted = f"{tensor.shape}, as {workload.model.name} has it"
                raise ValueError(f"weights must give {name} the shape {wanted}; {' and '.join(_sources(name))} give {shape}")

    def read(self, workload: DecodeStep) -> dict[str, Any]:
        """Packed weights by the step's names; a missing or misshapen one raises ValueError."""
        self.check(workload)
        return {name: format_named(tensor.format).pack(self._values(name)) for name, tensor in _weights(workload).items()}

    def _values(self, name: str) -> np.ndarray:
        values = np.concatenate([self._array(source) for source in _sources(name)])
        if not name.endswith("qk_norm.key_ratio"):
            return values
        queries = self._array(_sources(name.replace("key_ratio", "scale"))[0])
        if not queries.all():
            raise ValueError(f"weights must norm queries by numbers other than 0; got one in {name.rpartition('.')[0]}")
        return values / queries

    def _shape(self, name: str) -> Sequence[int]:
        """The shape of a stored tensor."""
        if name not in self._places:
            raise ValueError(f"weights must hold {name}; {str(self.folder)!r} does not")
        facts = self._places[name][2]
        if facts["dtype"] not in _DTYPES:
            raise ValueError(f"weights must be {', '.join(_DTYPES)}; {name} is {facts['dtype']}")
        return facts["shape"]

    def _array(self, name: str) -> np.ndarray:
        file, start, facts = self._places[name]
        first, _ = facts["data_offsets"]
        stored = np.memmap(file, _DTYPES[facts["dtype"]], "r", start + first, tuple(facts["shape"]))
        return np.asarray(stored, np.float32)

    def _read_header(self, file: Path) -> None:
        try:
            with file.open("rb") as stream:
                length = int.from_bytes(stream.read(8), "little")
                header = json.loads(stream.read(length))
            self._places |= {name: (file, 8 + length, facts) for name, facts in header.items() if name != "__metadata__"}
        except (OSError, ValueError, AttributeError, MemoryError, OverflowError) as error:
            raise ValueError(f"weights must be readable safetensors files; got {str(file)!r}: {error}") from None


def differences(folder: Path) -> list[str]:
    """What a folder's `config.json` asks for that the ops do otherwise, in words: times are the model's, its text is not."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    ours = {"rope_theta": ROPE_BASE, "rms_norm_eps": EPSILON, "rope_scaling": None}
    theirs = {name: config.get(name) for name in ours if config.get(name) is not None}
    return [f"{name} is {value}, and {ours[name]} here" for name, value in theirs.items() if value != ours[name]]


def _weights(workload: DecodeStep) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in workload.composition.arrays().items() if tensor.role != "kv"}


def _sources(name: str) -> tuple[str, ...]:
    """The stored tensors that a weight is made of, one below the other."""
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    _, layer, *rest = name.split(".")
    if ".".join(rest) not in _INSIDE:
        raise ValueError(f"weights must be laid out as Llama's, which have no {name}")
    return tuple(f"model.layers.{layer}.{source}" for source in _INSIDE[".".join(rest)])
