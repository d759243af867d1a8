"""A decode step as llama.cpp takes it: weights in a GGUF file, and caches as rows of bytes.

Names and keys are those of GGUF (github.com/ggml-org/ggml, docs/gguf.md) and of llama.cpp's `llama`,
which takes the biases of Qwen2 as well, and `qwen3`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ..formats import format_named
from ..libraries import ggml
from ..model import Model
from ..norm.reference import EPSILON
from ..rope.reference import BASE as ROPE_BASE
from ..rope.reference import rotate
from .workload import DecodeStep

CACHE_TYPES = {"f32": ggml.TYPES["f32"], "bf16": ggml.TYPES["f16"], "f16": ggml.TYPES["f16"], "int8": ggml.TYPES["int8"]}
"""Format of our cache -> type of llama.cpp's, which is F16 unless asked otherwise."""


def unlike_llama(model: Model) -> str | None:
    """What a model has that Llama's, or Qwen's with their biases or normed heads, have not; or None."""
    parts = {
        "a feed-forward other than SwiGLU": not model.gated or model.activation != "silu",
        "layer norms": model.norm != "rmsnorm",
        f"{model.position} positions": model.position != "rope",
        "parallel blocks": model.parallel_block,
        "norms after attention and feed-forward": model.post_norm,
        "sliding windows": model.window is not None,
        "normed heads besides biases": model.qk_norm and model.qkv_bias,
        "scores divided by a width other than the heads'": model.scale_dim not in (0, model.head_dim),
    }
    return next((part for part, is_there in parts.items() if is_there), None)


def refusal(workload: DecodeStep) -> str | None:
    """Why a step is none that is written here, or None."""
    if workload.fused:
        return "fused must be false: its weights have other names"
    model = workload.model
    if part := unlike_llama(model):
        return f"model must be of Llama's or Qwen's kind; {model.name} has {part}"
    if workload.kv_format not in CACHE_TYPES:
        return f"kv_format must be one of {', '.join(CACHE_TYPES)}; got {workload.kv_format}"
    if workload.kv_format == "int8" and model.head_dim % 32:
        return f"head_dim must be a multiple of 32 for a cache of int8; got {model.head_dim}"
    widths = (model.d_model, model.heads * model.head_dim, model.d_ff)
    return next((reason for width in widths if (reason := ggml.refusal(workload.weight_format, width))), None)


def write(workload: DecodeStep, arrays: Mapping[str, Any], file: Path) -> None:
    """Writes a model. It has no tokenizer.

    Args:
        workload: a step without a `refusal`.
        arrays: packed weights by the step's names.
        file: is made.
    """
    gguf = importlib.import_module("gguf")
    model = workload.model
    writer = gguf.GGUFWriter(file, "llama" if _is_paired(model) else "qwen3")
    writer.add_vocab_size(model.vocab)
    writer.add_context_length(max(model.max_context, workload.context))
    writer.add_block_count(model.layers)
    writer.add_embedding_length(model.d_model)
    writer.add_feed_forward_length(model.d_ff)
    writer.add_head_count(model.heads)
    writer.add_head_count_kv(model.kv_heads)
    writer.add_key_length(model.head_dim)
    writer.add_value_length(model.head_dim)
    writer.add_rope_dimension_count(model.head_dim)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_tokenizer_model("no_vocab")
    for name, (rows, type_number) in _tensors(workload, arrays):
        writer.add_tensor(name, rows, raw_dtype=gguf.GGMLQuantizationType(type_number))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def cached(workload: DecodeStep, arrays: Mapping[str, Any], position: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Keys and values of each layer, one row of bytes per token, for the tokens before the last of the context.

    A step of ours overwrites row `position` and attends to all rows, in whatever order. llama.cpp attends to the tokens
    before a new one. So the other rows become the tokens from 0, the new one comes last, and as it is rotated further than
    ours, all keys are rotated as much further: their angles to the query stay what they are.

    Args:
        workload: a step without a `refusal`.
        arrays: packed caches by the step's names.
        position: where our step puts the new token.
    """
    gguf = importlib.import_module("gguf")
    model, others = workload.model, workload.context - 1
    kept = np.delete(np.arange(workload.context), position)
    kind = gguf.GGMLQuantizationType(CACHE_TYPES[workload.kv_format])

    def rows(heads: np.ndarray) -> np.ndarray:
        joined = heads[:, kept].swapaxes(0, 1).astype(np.float32).reshape(others, -1)
        return np.ascontiguousarray(gguf.quants.quantize(joined, kind)).view(np.uint8)

    def turned(heads: np.ndarray) -> np.ndarray:
        further = rotate(heads.reshape(-1, model.head_dim), others - position)
        return (_paired(further.T, model).T if _is_paired(model) else further).reshape(heads.shape)

    layers = [f"layers.{layer}." for layer in range(model.layers)]
    return (
        [rows(turned(_values(workload, arrays, layer + "keys"))) for layer in layers],
        [rows(_values(workload, arrays, layer + "values")) for layer in layers],
    )


def _is_paired(model: Model) -> bool:
    """Whether llama.cpp rotates neighbours, as it does in `llama`, and not the halves of a head. Only `qwen3` norms heads."""
    return not model.qk_norm


def _tensors(workload: DecodeStep, arrays: Mapping[str, Any]) -> Iterator[tuple[str, tuple[np.ndarray, int]]]:
    """GGUF's names with bytes of rows and their type."""
    model, composition = workload.model, workload.composition
    tensors = composition.arrays()

    def matrix(name: str) -> tuple[np.ndarray, int]:
        kind = tensors[name].format
        return ggml.as_blocks(arrays[name], kind).view(np.uint8), ggml.TYPES[kind]

    def vector(values: Float[np.ndarray, "d"]) -> tuple[np.ndarray, int]:
        return values.astype(np.float32).view(np.uint8), ggml.TYPES["f32"]

    def weights(name: str) -> Float[np.ndarray, "d"]:
        return _values(workload, arrays, name)

    yield "token_embd.weight", matrix("embedding.table")
    yield "output_norm.weight", vector(weights("final_norm.scale"))
    if not composition.shares_table():
        yield "output.weight", matrix("lm_head.weight")
    for layer in range(model.layers):
        ours, theirs = f"layers.{layer}.", f"blk.{layer}."
        yield theirs + "attn_norm.weight", vector(weights(ours + ("attention_norm.scale" if layer else "first_norm.scale")))
        rows, kind = matrix(ours + "qkv.weight")
        for one, part in zip("qkv", _queries_keys_values(rows, model), strict=True):
            yield f"{theirs}attn_{one}.weight", (part, kind)
        if model.qkv_bias:
            for one, part in zip("qkv", _queries_keys_values(weights(ours + "qkv.bias")[:, None], model), strict=True):
                yield f"{theirs}attn_{one}.bias", vector(part[:, 0])
        if model.qk_norm:
            scale = weights(ours + "qk_norm.scale")
            yield theirs + "attn_q_norm.weight", vector(scale)
            yield theirs + "attn_k_norm.weight", vector(scale * weights(ours + "qk_norm.key_ratio"))
        yield theirs + "attn_output.weight", matrix(ours + "attention_out.weight")
        yield theirs + "ffn_norm.weight", vector(weights(ours + "ffn_norm.scale"))
        rows, kind = matrix(ours + "ffn_gate_up.weight")
        for one, part in zip(("gate", "up"), np.split(rows, 2), strict=True):
            yield f"{theirs}ffn_{one}.weight", (part, kind)
        yield theirs + "ffn_down.weight", matrix(ours + "ffn_down.weight")


def _queries_keys_values(rows: np.ndarray, model: Model) -> tuple[np.ndarray, ...]:
    """The rows of queries, keys and values, those of a head in the order in which llama.cpp rotates them."""
    queries = model.heads * model.head_dim
    q, k, v = np.split(rows, [queries, queries + model.kv_heads * model.head_dim])
    return (_paired(q, model), _paired(k, model), v) if _is_paired(model) else (q, k, v)


def _values(workload: DecodeStep, arrays: Mapping[str, Any], name: str) -> Float[np.ndarray, "..."]:
    return format_named(workload.composition.arrays()[name].format).unpack(arrays[name])


def _paired(rows: np.ndarray, model: Model) -> np.ndarray:
    """Rows of heads in the order in which llama.cpp rotates those of `llama`: neighbours are a pair, not halves."""
    return rows.reshape(-1, 2, model.head_dim // 2, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)
