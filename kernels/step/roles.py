"""The order in which a token meets the calls of a model, by their roles; each model has some of them."""

from __future__ import annotations

INPUT = ("embedding", "position")

FIRST_NORM, LATER_NORM = "first_norm", "attention_norm"
"""The norm before attention: a first layer has no residual to add."""
FULL = ("cache_update", "attention")
"""What layers do that attend to the whole context."""
WINDOWED = tuple(f"{role}_window" for role in FULL)
"""What layers do that attend to a sliding window."""
DENSE = ("ffn_gate_up", "ffn_up", "activation", "ffn_down")
"""What layers do whose feed-forward every token takes."""
MIXTURE = ("router", "routing", *(f"{which}_{role}" for which in ("expert", "shared_expert") for role in DENSE))
"""What layers do whose feed-forward is a mixture of experts."""

LAYER = (
    FIRST_NORM,
    LATER_NORM,
    "qkv",
    "query",
    "query_down",
    "query_latent_norm",
    "query_up",
    "kv_down",
    "kv_latent_norm",
    "qk_norm",
    "rope",
    "cache_update",
    "cache_update_window",
    "key_up",
    "attention",
    "attention_window",
    "value_up",
    "attention_out",
    "attention_post_norm",
    "cross_norm",
    "cross_query",
    "attention_cross",
    "cross_out",
    "ffn_norm",
    *DENSE,
    *MIXTURE,
    "ffn_post_norm",
)
"""Of a layer, every role that it may have."""

OUTPUT = ("final_norm", "lm_head", "sampling")
