"""Configurations of Cerebras Model Zoo as facts of a model: `trainer.init.model` of a YAML file, or `model` of an older one.

Names of fields and their defaults are those of GPT2LMHeadModelConfig (github:Cerebras/modelzoo
src/cerebras/modelzoo/models/nlp/gpt2/gpt2_model.py), which its decoders share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from .asked import Asked

_PARALLEL = ("gptj", "gpt-neox", "gpt_neox", "falcon")
"""Models whose attention and feed-forward read the same input."""
_DECODERS = (
    *(
        "gpt2",
        "gpt3",
        "llama",
        "mistral",
        "mixtral",
        "jais",
        "bloom",
        "btlm",
        "gemma2",
        "mpt",
        "starcoder",
        "santacoder",
        "opt",
    ),
    *("qwen2", "GPT2LMHeadModel"),
    *_PARALLEL,
)
_NONLINEARITIES: Mapping[str, tuple[bool, str]] = {
    "swiglu": (True, "silu"), "geglu": (True, "gelu"), "reglu": (True, "relu"), "gelu": (False, "gelu"),
    "gelu_new": (False, "gelu"), "quick_gelu": (False, "gelu"), "relu": (False, "relu"), "silu": (False, "silu"),
}  # fmt: skip
"""Nonlinearity -> whether the feed-forward has a gate matrix, and what is applied."""
_POSITIONS = {"rotary": "rope", "learned": "learned", "alibi": "alibi", "relative": "relative", "fixed": "none", None: "none"}
"""Position embedding -> ours. Sinusoids are computed, not read."""
_MODULES = {"aiayn_attention": False, "multiquery_attention": True}
"""Attention module -> whether its keys and values have heads of their own number."""
_ATTENTIONS = {"scaled_dot_product": True, "dot_product": False}
_UNKNOWN = (
    "attention_chunk_size",
    "attention_sink_tokens",
    "attention_vertical_column_spacing",
    "attention_vertical_column_width",
    "cross_attention_layers",
    "fixed_sparse_attention",
)
"""Keys that change what attention reads."""
_NORMS = {"rmsnorm": "rmsnorm", "layernorm": "layernorm", "biasless-layernorm": "layernorm"}


def section_of(facts: Any) -> tuple[str, Mapping[str, Any]] | None:
    """Where the model stands in a configuration of the Model Zoo, and what it says; None for any other file."""
    if not isinstance(facts, Mapping):
        return None
    trainer = facts.get("trainer")
    # A trainer in several phases is a list, whose first says what the model is.
    first = trainer[0] if isinstance(trainer, list) and trainer else trainer
    inner = first.get("trainer", first) if isinstance(first, Mapping) else {}
    init = inner.get("init")
    for where, found in (
        ("trainer.init.model", init.get("model") if isinstance(init, Mapping) else None),
        ("model", facts.get("model")),
    ):
        if isinstance(found, Mapping) and "hidden_size" in found:
            return where, found
    return None


def model_facts_from_model_zoo(where: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `kernels.model.Model`, but for its name.

    Args:
        where: the section stands in the file, for sentences.
        section: that describes the model.

    Raises:
        UsageError: if the architecture is not known, or a key is missing, misspelt or unusable.
    """
    told = Asked(section)
    name = told.get("name", "gpt2")
    if name not in (*_DECODERS, "bert"):
        raise UsageError(f"{where}.name must be one of {', '.join((*_DECODERS, 'bert'))}; got {name!r}")
    facts = _encoder(where, told) if name == "bert" else _decoder(where, told, name in _PARALLEL)
    told.check_spelling(f"{where}.")
    return facts


def _decoder(where: str, section: Mapping[str, Any], is_parallel: bool) -> dict[str, Any]:
    shape = _shape(where, section)
    gated, activation = _one_of(where, section, "nonlinearity", _NONLINEARITIES, "gelu")
    heads, head_dim = shape["heads"], shape["head_dim"]
    facts = shape | {
        "family": "decoder",
        "kv_heads": _kv_heads(where, section, heads),
        "gated": gated,
        "activation": activation,
        "norm": _one_of(where, section, "norm_type", _NORMS, "layernorm"),
        "position": _one_of(where, section, "position_embedding_type", _POSITIONS, "rotary" if is_parallel else "learned"),
        "tied": _flag(where, section, "share_embedding_weights", True),
        "qkv_bias": _flag(where, section, "use_projection_bias_in_attention", not is_parallel),
        "post_norm": _flag(where, section, "norm_first_sandwich", False),
        "attention_softcap": _cap(where, section, "attention_logit_softcapping"),
        "logit_softcap": _cap(where, section, "final_logit_softcapping"),
        "scale_dim": _scale_dim(where, section, head_dim),
        "qk_norm": section.get("attention_qk_norm_layer") is not None,
    }
    for key in _UNKNOWN:
        if section.get(key) not in (None, [], {}):
            raise UsageError(f"{where}.{key} must be null, for nothing is known here of what it costs; got {section[key]!r}")
    if is_parallel:
        facts |= {"parallel_block": True, "parallel_norms": 2 if _flag(where, section, "use_untied_layer_norm", False) else 1}
    if size := _whole(where, section, "attention_sliding_window_length", None):
        every_other = _flag(where, section, "sliding_window_every_other_decoder_layer", False)
        facts["window"] = {"size": size, "local": 1, "full": int(every_other)}
    return facts | _mixture(where, section, shape["d_ff"])


def _shape(where: str, section: Mapping[str, Any]) -> dict[str, Any]:
    heads, width = _whole(where, section, "num_heads", 12), _whole(where, section, "hidden_size")
    inner = _whole(where, section, "attention_inner_dim", width)
    if inner % heads:
        raise UsageError(f"{where}.num_heads must divide the width of attention, which is {inner}; got {heads}")
    return {
        "layers": _whole(where, section, "num_hidden_layers", 12),
        "d_model": width,
        "heads": heads,
        "head_dim": inner // heads,
        "d_ff": _whole(where, section, "filter_size", 3072),
        "vocab": _whole(where, section, "vocab_size", 50257),
        "max_context": _whole(where, section, "max_position_embeddings", 1024),
    }


def _encoder(where: str, section: Mapping[str, Any]) -> dict[str, Any]:
    shape = _shape(where, section)
    gated, activation = _one_of(where, section, "encoder_nonlinearity", _NONLINEARITIES, "gelu")
    rest = {"family": "encoder", "norm": "layernorm", "position": "learned", "tied": True, "qkv_bias": True}
    return shape | rest | {"kv_heads": shape["heads"], "gated": gated, "activation": activation}


def _kv_heads(where: str, section: Mapping[str, Any], heads: int) -> int:
    has_groups = _one_of(where, section, "attention_module", _MODULES, "aiayn_attention")
    extra = _inner(where, section, "extra_attention_params", "num_kv_groups")
    groups = _whole(f"{where}.extra_attention_params", extra, "num_kv_groups", 1)
    extra.check_spelling(f"{where}.extra_attention_params.")
    return groups if has_groups else heads


def _scale_dim(where: str, section: Mapping[str, Any], head_dim: int) -> int:
    """What scores are divided by the square root of; 0 for the width of a head."""
    has_scale = _one_of(where, section, "attention_type", _ATTENTIONS, "scaled_dot_product")
    return head_dim**2 if _flag(where, section, "scale_qk_dot_by_d", False) else 0 if has_scale else 1


def _mixture(where: str, section: Mapping[str, Any], d_ff: int) -> dict[str, Any]:
    """Every layer's feed-forward is one where there are several experts, each as wide as a dense one."""
    key = "moe" if section.get("moe") is not None else "moe_params"
    told, inner = _inner(where, section, key, "num_experts and top_k"), f"{where}.{key}"
    experts, top_k = (_whole(inner, told, name, 1) for name in ("num_experts", "top_k"))
    shared = _whole(inner, told, "num_shared_experts", None) or 0
    told.check_spelling(f"{inner}.")
    if experts == 1:
        return {}
    return {"d_ff": 0, "mixture": {"experts": experts, "top_k": top_k, "d_ff_expert": d_ff, "shared_experts": shared}}


def _inner(where: str, section: Mapping[str, Any], key: str, what: str) -> Asked:
    told = section.get(key)
    if not isinstance(told, Mapping | None):
        raise UsageError(f"{where}.{key} must be a mapping with {what}; got {told!r}")
    return Asked(told or {})


def _flag(where: str, section: Mapping[str, Any], key: str, otherwise: bool) -> bool:
    value = section.get(key)
    if not isinstance(value, bool | None):
        raise UsageError(f"{where}.{key} must be true or false; got {value!r}")
    return otherwise if value is None else value


def _cap(where: str, section: Mapping[str, Any], key: str) -> float:
    value = section.get(key)
    if not isinstance(value, int | float | None) or isinstance(value, bool):
        raise UsageError(f"{where}.{key} must be a number or null; got {value!r}")
    return value or 0.0


def _whole(where: str, section: Mapping[str, Any], key: str, otherwise: int | None = 0) -> Any:
    """A whole number from 1; a default of 0 is none."""
    value = section.get(key)
    value = otherwise if value is None else value
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{where}.{key} must be an integer from 1; got {section.get(key)!r}")
    return value


def _one_of(where: str, section: Mapping[str, Any], key: str, known: Mapping[Any, Any], otherwise: str) -> Any:
    value = section.get(key, otherwise)
    if not isinstance(value, str | None) or value not in known:
        raise UsageError(f"{where}.{key} must be one of {', '.join(map(str, known))}; got {value!r}")
    return known[value]
