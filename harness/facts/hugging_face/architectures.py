"""How to read the `config.json` of each architecture: for every field of `Model` a constant or a rule.

Keys that a published file may leave out carry the default of the architecture's configuration class in the
`transformers` library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .rules import (
    above,
    above_max_window_layers,
    activation,
    all_but_each,
    all_layers,
    dense_layers_below,
    each_step,
    flag,
    key,
    listed,
    nested,
    quotient,
    same,
    square,
    starts,
    times,
    total,
    when,
    whole,
    windows,
)

Table = Mapping[str, Any]

_WIDTH, _HEADS = whole("hidden_size"), whole("num_attention_heads")
_UNTIED, _TIED = key("tie_word_embeddings", otherwise=False), key("tie_word_embeddings", otherwise=True)

_LLAMA: Table = {
    "family": "decoder",
    "layers": whole("num_hidden_layers"),
    "d_model": _WIDTH,
    "heads": _HEADS,
    "kv_heads": whole("num_key_value_heads", otherwise=_HEADS),
    "head_dim": whole("head_dim", otherwise=quotient(_WIDTH, _HEADS)),
    "d_ff": whole("intermediate_size"),
    "vocab": whole("vocab_size"),
    "max_context": whole("max_position_embeddings"),
    "gated": True,
    "activation": activation("hidden_act", otherwise="silu"),
    "norm": "rmsnorm",
    "position": "rope",
    "tied": _UNTIED,
    "qkv_bias": key("attention_bias", otherwise=False),
}
_SLIDING = key("sliding_window", otherwise=None)
_MISTRAL: Table = {**_LLAMA, "window": windows(_SLIDING, all_layers)}
_MIXTRAL: Table = {
    **_MISTRAL,
    "d_ff": 0,
    "mixture": nested(
        experts=whole("num_local_experts"),
        top_k=whole("num_experts_per_tok", "experts_per_token"),
        d_ff_expert=whole("intermediate_size"),
    ),
}
_GPT_OSS: Table = {
    **_MIXTRAL,
    "qkv_bias": key("attention_bias", otherwise=True),
    "attention_sinks": True,
    "window": windows(_SLIDING, all_but_each(2)),
}
_QWEN2: Table = {
    **_LLAMA,
    "qkv_bias": True,
    "window": windows(when(flag("use_sliding_window", otherwise=False), _SLIDING, None), above_max_window_layers),
}
_QWEN3: Table = {
    **_QWEN2,
    "head_dim": whole("head_dim", otherwise=128),
    "qk_norm": True,
    "qkv_bias": _LLAMA["qkv_bias"],
}
_SPARSE_STEP = whole("decoder_sparse_step", otherwise=1)
_QWEN3_MIXTURE: Table = {
    **_QWEN3,
    "d_ff": when(above(1, total(_SPARSE_STEP, dense_layers_below)), whole("intermediate_size"), 0),
    "mixture": nested(
        experts=whole("num_experts"),
        top_k=whole("num_experts_per_tok"),
        d_ff_expert=whole("moe_intermediate_size"),
        first_dense_layers=dense_layers_below,
        layer_step=_SPARSE_STEP,
        renormalised=key("norm_topk_prob", otherwise=False),
    ),
}
_GEMMA2: Table = {
    **_LLAMA,
    "head_dim": whole("head_dim", otherwise=256),
    # hidden_act says gelu and hidden_activation gelu_pytorch_tanh in the first files; both mean the latter.
    "activation": "gelu",
    "tied": _TIED,
    "post_norm": True,
    "scale_dim": key("query_pre_attn_scalar", otherwise=256),
    "attention_softcap": key("attn_logit_softcapping", otherwise=0.0),
    "logit_softcap": key("final_logit_softcapping", otherwise=0.0),
    "window": windows(key("sliding_window", otherwise=4096), all_but_each(2)),
}
_GEMMA3: Table = {
    **_GEMMA2,
    "heads": whole("num_attention_heads", otherwise=8),
    "kv_heads": whole("num_key_value_heads", otherwise=4),
    "vocab": whole("vocab_size", otherwise=262208),
    "max_context": whole("max_position_embeddings", otherwise=131072),
    "qk_norm": True,
    "window": windows(key("sliding_window", otherwise=4096), all_but_each(6, "sliding_window_pattern")),
}
_GPT2: Table = {
    "family": "decoder",
    "layers": whole("n_layer"),
    "d_model": whole("n_embd"),
    "heads": whole("n_head"),
    "kv_heads": whole("n_head"),
    "head_dim": quotient(whole("n_embd"), whole("n_head")),
    "d_ff": whole("n_inner", otherwise=times(4, whole("n_embd"))),
    "vocab": whole("vocab_size"),
    "max_context": whole("n_positions"),
    "gated": False,
    "activation": activation("activation_function", otherwise="gelu_new"),
    "norm": "layernorm",
    "position": "learned",
    "tied": _TIED,
    "qkv_bias": True,
}
_JAIS: Table = {
    **_GPT2,
    "gated": starts("swiglu", "activation_function", otherwise="gelu"),
    "position": key("position_embedding_type", otherwise="learned"),
    "scale_dim": when(flag("mup_scale_qk_dot_by_d", otherwise=False), square(_GPT2["head_dim"]), 0),
}
_OPT: Table = {
    **_LLAMA,
    "d_model": same("hidden_size", "word_embed_proj_dim"),
    "d_ff": whole("ffn_dim"),
    "gated": False,
    "activation": activation("activation_function", otherwise="relu"),
    "norm": "layernorm",
    "position": "learned",
    "tied": _TIED,
    "qkv_bias": key("enable_bias", otherwise=True),
}
_BLOOM_WIDTH, _BLOOM_HEADS = whole("hidden_size", "n_embed"), whole("n_head", "num_attention_heads")
_BLOOM: Table = {
    "family": "decoder",
    "layers": whole("n_layer", "num_hidden_layers"),
    "d_model": _BLOOM_WIDTH,
    "heads": _BLOOM_HEADS,
    "kv_heads": _BLOOM_HEADS,
    "head_dim": quotient(_BLOOM_WIDTH, _BLOOM_HEADS),
    "d_ff": times(4, _BLOOM_WIDTH),
    "vocab": whole("vocab_size"),
    "max_context": whole("seq_length", otherwise=2048),
    "gated": False,
    "activation": "gelu",
    "norm": "layernorm",
    "position": "alibi",
    "tied": _TIED,
    "qkv_bias": True,
}
_FALCON_NEW = flag("new_decoder_architecture", otherwise=False)
_FALCON: Table = {
    **_LLAMA,
    "kv_heads": when(
        _FALCON_NEW, whole("num_kv_heads", otherwise=_HEADS), when(flag("multi_query", otherwise=True), 1, _HEADS)
    ),
    "d_ff": whole("ffn_hidden_size", otherwise=times(4, _WIDTH)),
    "max_context": whole("max_position_embeddings", otherwise=2048),
    "gated": False,
    "activation": activation("activation", otherwise="gelu"),
    "norm": "layernorm",
    "position": when(flag("alibi", otherwise=False), "alibi", "rope"),
    # The configuration class would tie them, but released checkpoints hold an LM head of their own.
    "tied": _UNTIED,
    "qkv_bias": key("bias", otherwise=False),
    "parallel_block": when(_FALCON_NEW, True, key("parallel_attn", otherwise=True)),
    "parallel_norms": when(_FALCON_NEW, whole("num_ln_in_parallel_attn", otherwise=2), 1),
}
_NOPE, _ROPE = whole("qk_nope_head_dim"), whole("qk_rope_head_dim")
_DEEPSEEK_MIXTURE: Table = {
    "experts": whole("n_routed_experts"),
    "top_k": whole("num_experts_per_tok"),
    "d_ff_expert": whole("moe_intermediate_size"),
    "shared_experts": key("n_shared_experts", otherwise=0),
    "first_dense_layers": key("first_k_dense_replace", otherwise=0),
    "layer_step": whole("moe_layer_freq", otherwise=1),
}
_DEEPSEEK2: Table = {
    **_LLAMA,
    "kv_heads": _HEADS,
    "head_dim": total(_NOPE, _ROPE),
    "mixture": nested(
        **_DEEPSEEK_MIXTURE,
        renormalised=key("norm_topk_prob", otherwise=False),
        groups=whole("n_group", otherwise=1),
        top_groups=whole("topk_group", otherwise=1),
        scale=key("routed_scaling_factor", otherwise=1.0),
    ),
    "latent": nested(
        q_lora=key("q_lora_rank", otherwise=0),
        kv_lora=whole("kv_lora_rank"),
        qk_nope=_NOPE,
        qk_rope=_ROPE,
        v=whole("v_head_dim"),
    ),
}
_DEEPSEEK3: Table = {
    **_DEEPSEEK2,
    "mixture": nested(
        **_DEEPSEEK_MIXTURE,
        scores="sigmoid",
        selection_bias=True,
        renormalised=key("norm_topk_prob", otherwise=True),
        groups=whole("n_group", otherwise=8),
        top_groups=whole("topk_group", otherwise=4),
        scale=key("routed_scaling_factor", otherwise=2.5),
    ),
}
_ROPED = listed("no_rope_layers", all_but_each(4, "no_rope_layer_interval"))
_LLAMA4_STEP = whole("interleave_moe_layer_step", otherwise=1)
_LLAMA4: Table = {
    **_LLAMA,
    "d_ff": when(above(1, _LLAMA4_STEP), whole("intermediate_size_mlp"), 0),
    "qk_norm": key("use_qk_norm", otherwise=True),
    "mixture": nested(
        experts=whole("num_local_experts"),
        top_k=whole("num_experts_per_tok"),
        d_ff_expert=whole("intermediate_size"),
        shared_experts=1,
        layer_step=each_step("moe_layers", _LLAMA4_STEP),
        scores="sigmoid",
        renormalised=False,
    ),
    # Attention within chunks; a chunk is the most that a token of such a layer sees.
    "window": windows(key("attention_chunk_size", otherwise=8192), _ROPED, called="chunked_attention"),
}
_BERT: Table = {
    **_LLAMA,
    "family": "encoder",
    "gated": False,
    "activation": activation("hidden_act", otherwise="gelu"),
    "norm": "layernorm",
    "position": "learned",
    "tied": _TIED,
    "qkv_bias": True,
}
_T5: Table = {
    "family": "encoder-decoder",
    "layers": same("num_layers", "num_decoder_layers"),
    "d_model": whole("d_model"),
    "heads": whole("num_heads"),
    "kv_heads": whole("num_heads"),
    "head_dim": whole("d_kv"),
    "d_ff": whole("d_ff"),
    "vocab": whole("vocab_size"),
    "max_context": whole("n_positions", otherwise=512),
    "gated": starts("gated-", "feed_forward_proj", otherwise="relu"),
    "activation": activation("feed_forward_proj", otherwise="relu"),
    "norm": "rmsnorm",
    "position": "relative",
    "scale_dim": 1,
    "tied": _TIED,
}

ARCHITECTURES: Mapping[str, Table] = {
    "BertForMaskedLM": _BERT,
    "BertModel": _BERT,
    "BloomForCausalLM": _BLOOM,
    "DeepseekV2ForCausalLM": _DEEPSEEK2,
    "DeepseekV3ForCausalLM": _DEEPSEEK3,
    "FalconForCausalLM": _FALCON,
    "GPT2LMHeadModel": _GPT2,
    "Gemma2ForCausalLM": _GEMMA2,
    "Gemma3ForCausalLM": _GEMMA3,
    "Gemma3ForConditionalGeneration": _GEMMA3,
    "GptOssForCausalLM": _GPT_OSS,
    "JAISLMHeadModel": _JAIS,
    "Llama4ForCausalLM": _LLAMA4,
    "Llama4ForConditionalGeneration": _LLAMA4,
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _MISTRAL,
    "MixtralForCausalLM": _MIXTRAL,
    "OPTForCausalLM": _OPT,
    "Qwen2ForCausalLM": _QWEN2,
    "Qwen3ForCausalLM": _QWEN3,
    "Qwen3MoeForCausalLM": _QWEN3_MIXTURE,
    "T5ForConditionalGeneration": _T5,
}
"""Architecture, as `config.json` names it -> field of `Model` -> constant or rule."""
