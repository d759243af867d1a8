"""Models out of Hugging Face configurations: published ones are the model files, and others say what they lack."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from roofcast.harness.errors import UsageError
from roofcast.harness.facts import catalogue
from roofcast.harness.facts.hugging_face import ARCHITECTURES
from roofcast.harness.facts.models import model_facts_from_hugging_face, model_from, model_from_hugging_face, model_named
from roofcast.harness.steps.workloads import calls
from roofcast.kernels.model import Model, Step


def _qwen3(**other: Any) -> dict[str, Any]:
    shared = {"attention_bias": False, "head_dim": 128, "hidden_act": "silu", "max_position_embeddings": 40960}
    return shared | {"max_window_layers": 36, "sliding_window": None, "use_sliding_window": False} | other


LLAMA4_TEXT = {
    "attention_chunk_size": 8192,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 5120,
    "interleave_moe_layer_step": 2,
    "intermediate_size": 8192,
    "intermediate_size_mlp": 16384,
    "max_position_embeddings": 1048576,
    "num_attention_heads": 40,
    "num_experts_per_tok": 1,
    "num_hidden_layers": 48,
    "num_key_value_heads": 8,
    "num_local_experts": 128,
    "tie_word_embeddings": False,
    "use_qk_norm": False,
}
BERT = {
    "hidden_act": "gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "type_vocab_size": 2,
}
DEEPSEEK = {
    "hidden_act": "silu",
    "kv_lora_rank": 512,
    "moe_layer_freq": 1,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "tie_word_embeddings": False,
    "v_head_dim": 128,
}
# Architecture -> model file, and the shape keys of its published config.json. The vocabulary is the file's, which
# leaves out special and padding tokens, and so is the context where the published one says otherwise.
PUBLISHED_CONFIGS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "BertForMaskedLM": ("bert-base", BERT),
    "BertModel": ("bert-base", BERT),
    "BloomForCausalLM": ("bloom-176b", {"n_embed": 14336, "n_layer": 70, "num_attention_heads": 112, "seq_length": 2048}),
    "DeepseekV2ForCausalLM": (
        "deepseek-v2-236b",
        DEEPSEEK
        | {"first_k_dense_replace": 1, "hidden_size": 5120, "intermediate_size": 12288, "max_position_embeddings": 131072}
        | {"moe_intermediate_size": 1536, "n_routed_experts": 160, "n_shared_experts": 2, "num_experts_per_tok": 6}
        | {"n_group": 8, "norm_topk_prob": False, "num_hidden_layers": 60, "routed_scaling_factor": 16.0, "topk_group": 3},
    ),
    "DeepseekV3ForCausalLM": (
        "deepseek-v3-671b",
        DEEPSEEK
        | {"first_k_dense_replace": 3, "hidden_size": 7168, "intermediate_size": 18432, "max_position_embeddings": 163840}
        | {"moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8}
        | {"n_group": 8, "norm_topk_prob": True, "num_hidden_layers": 61, "num_nextn_predict_layers": 1}
        | {"routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "topk_group": 4, "topk_method": "noaux_tc"},
    ),
    "FalconForCausalLM": (
        "falcon-180b",
        {"alibi": False, "bias": False, "hidden_size": 14848, "multi_query": True, "new_decoder_architecture": True}
        | {"num_attention_heads": 232, "num_hidden_layers": 80, "num_kv_heads": 8, "parallel_attn": True},
    ),
    "GPT2LMHeadModel": (
        "gpt2",
        {"activation_function": "gelu_new", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024},
    ),
    "Gemma2ForCausalLM": (
        "gemma-2-9b",
        {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh"}
        | {"hidden_size": 3584, "intermediate_size": 14336, "max_position_embeddings": 8192, "num_attention_heads": 16}
        | {"num_hidden_layers": 42, "num_key_value_heads": 8, "sliding_window": 4096},
    ),
    "Gemma3ForCausalLM": (
        "gemma-3-1b",
        {"head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "intermediate_size": 6912}
        | {"max_position_embeddings": 131072, "num_attention_heads": 4, "num_hidden_layers": 26, "num_key_value_heads": 1}
        | {"sliding_window": 512, "sliding_window_pattern": 6, "attn_logit_softcapping": None},
    ),
    # The published file leaves heads, head width and context to the defaults of the configuration class.
    "Gemma3ForConditionalGeneration": (
        "gemma-3-4b",
        {"text_config": {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024}},
    ),
    "GptOssForCausalLM": (
        "gpt-oss-20b",
        {"attention_bias": True, "experts_per_token": 4, "head_dim": 64, "hidden_act": "silu", "hidden_size": 2880}
        | {"intermediate_size": 2880, "layer_types": ["sliding_attention", "full_attention"] * 12}
        | {"max_position_embeddings": 131072, "num_attention_heads": 64, "num_experts_per_tok": 4, "num_hidden_layers": 24}
        | {"num_key_value_heads": 8, "num_local_experts": 32, "sliding_window": 128, "tie_word_embeddings": False},
    ),
    "JAISLMHeadModel": (
        "jais-13b",
        {"activation_function": "swiglu", "n_embd": 5120, "n_head": 40, "n_inner": 13653, "n_layer": 40, "n_positions": 2048}
        | {"position_embedding_type": "alibi", "mup_scale_qk_dot_by_d": True},
    ),
    "Llama4ForCausalLM": ("llama-4-maverick", LLAMA4_TEXT),
    "Llama4ForConditionalGeneration": ("llama-4-maverick", {"text_config": LLAMA4_TEXT, "tie_word_embeddings": False}),
    "LlamaForCausalLM": (
        "llama-3.1-8b",
        {"attention_bias": False, "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336}
        | {"max_position_embeddings": 131072, "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8}
        | {"tie_word_embeddings": False},
    ),
    "MistralForCausalLM": (
        "mistral-7b-v0.1",
        {"hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768}
        | {"num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "sliding_window": 4096},
    ),
    "MixtralForCausalLM": (
        "mixtral-8x7b",
        {"hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768}
        | {"num_attention_heads": 32, "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8}
        | {"num_local_experts": 8, "sliding_window": None, "tie_word_embeddings": False},
    ),
    "OPTForCausalLM": (
        "opt-175b",
        {"activation_function": "relu", "do_layer_norm_before": True, "ffn_dim": 49152, "hidden_size": 12288}
        | {"max_position_embeddings": 2048, "num_attention_heads": 96, "num_hidden_layers": 96, "word_embed_proj_dim": 12288},
    ),
    "Qwen2ForCausalLM": (
        "qwen2.5-7b",
        {"hidden_act": "silu", "hidden_size": 3584, "intermediate_size": 18944, "max_position_embeddings": 131072}
        | {"max_window_layers": 28, "num_attention_heads": 28, "num_hidden_layers": 28, "num_key_value_heads": 4}
        | {"sliding_window": 131072, "tie_word_embeddings": False, "use_sliding_window": False},
    ),
    "Qwen3ForCausalLM": (
        "qwen3-8b",
        _qwen3(hidden_size=4096, intermediate_size=12288, num_attention_heads=32, num_hidden_layers=36, num_key_value_heads=8),
    ),
    "Qwen3MoeForCausalLM": (
        "qwen3-30b-a3b",
        _qwen3(hidden_size=2048, intermediate_size=6144, num_attention_heads=32, num_hidden_layers=48, num_key_value_heads=4)
        | {"decoder_sparse_step": 1, "mlp_only_layers": [], "moe_intermediate_size": 768, "num_experts": 128}
        | {"norm_topk_prob": True, "num_experts_per_tok": 8},
    ),
    "T5ForConditionalGeneration": (
        "t5-base",
        {"d_ff": 3072, "d_kv": 64, "d_model": 768, "n_positions": 512, "num_heads": 12, "num_layers": 12},
    ),
}


GONE = object()
"""Stands for a key that is left out."""


def _config(architecture: str) -> dict[str, Any]:
    name, keys = PUBLISHED_CONFIGS[architecture]
    vocab = {"vocab_size": catalogue.facts("model", name)["vocab"]}
    inner = {"text_config": {**keys["text_config"], **vocab}} if "text_config" in keys else vocab
    return {"architectures": [architecture], **keys, **inner}


def test_every_architecture_is_tried() -> None:
    assert set(PUBLISHED_CONFIGS) == set(ARCHITECTURES)


@pytest.mark.parametrize("architecture", PUBLISHED_CONFIGS)
def test_a_published_configuration_is_the_model_file(architecture: str, tmp_path: Path) -> None:
    name = PUBLISHED_CONFIGS[architecture][0]
    file = tmp_path / name / "config.json"
    file.parent.mkdir()
    file.write_text(json.dumps(_config(architecture)))
    model = model_from_hugging_face(file)
    assert model == model_named(name)
    assert calls(Step(model, 100)) == calls(Step(model_named(name), 100))


def _llama(**changes: Any) -> Model:
    return model_from_hugging_face(_config("LlamaForCausalLM") | changes)


def test_variants_of_a_configuration() -> None:
    llama = _llama()
    assert _llama(num_key_value_heads=None).kv_heads == llama.heads
    assert _llama(head_dim=64).head_dim == 64
    assert _llama(tie_word_embeddings=True) == replace(llama, tied=True)
    assert _llama(_name_or_path="somewhere/my-llama").name == "my-llama"
    lite = model_from_hugging_face(_config("DeepseekV2ForCausalLM") | {"q_lora_rank": None})
    roles = [need.role for need in calls(Step(lite, 10))]
    assert "query" in roles
    assert "query_down" not in roles
    old_falcon = model_from_hugging_face(_config("FalconForCausalLM") | {"new_decoder_architecture": False, "alibi": True})
    assert (old_falcon.kv_heads, old_falcon.parallel_norms, old_falcon.position) == (1, 1, "alibi")
    t5 = model_from_hugging_face(_config("T5ForConditionalGeneration") | {"feed_forward_proj": "gated-gelu"})
    assert (t5.gated, t5.activation) == (True, "gelu")
    gemma = _config("Gemma3ForCausalLM") | {"layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 9}
    assert model_from_hugging_face(gemma | {"num_hidden_layers": 27}).windowed_layers == 18
    sparse = model_from_hugging_face(_config("Qwen3MoeForCausalLM") | {"mlp_only_layers": [0, 1]})
    assert (sparse.d_ff, sparse.mixture_layers) == (6144, 46)
    llama4 = _config("Llama4ForCausalLM")
    nope = {"no_rope_layers": [1, 1, 1, 0] * 12, "moe_layers": list(range(1, 48, 2))}
    assert model_from_hugging_face(llama4 | nope) == model_from_hugging_face(llama4 | {"no_rope_layers": []})
    assert model_from_hugging_face(llama4 | {"no_rope_layers": [1, 0] * 24}).windowed_layers == 24
    full = _config("Qwen3ForCausalLM") | {"use_sliding_window": True, "sliding_window": 4096}
    assert model_from_hugging_face(full | {"max_window_layers": 0}).windowed_layers == 36
    assert model_from_hugging_face(full | {"layer_types": ["full_attention"] * 36}).windowed_layers == 0
    windowed = _config("Qwen2ForCausalLM") | {"use_sliding_window": True, "max_window_layers": 0}
    assert model_from_hugging_face(windowed).windowed_layers == 28


def test_a_folder_or_a_file_names_the_model(tmp_path: Path) -> None:
    folder = tmp_path / "my-llama"
    folder.mkdir()
    for file in (folder / "config.json", folder / "other.json"):
        file.write_text(json.dumps(_config("LlamaForCausalLM")))
    assert model_from_hugging_face(folder).name == "my-llama"
    assert model_from_hugging_face(str(folder / "config.json")).name == "my-llama"
    assert model_from_hugging_face(folder / "other.json").name == "other"
    assert model_from_hugging_face(folder, "third").name == "third"
    facts = model_facts_from_hugging_face(folder)
    assert model_from(facts, facts["name"]) == model_from_hugging_face(folder)


@pytest.mark.parametrize(
    ("architecture", "changes", "message"),
    [
        (
            "LlamaForCausalLM",
            {"architectures": ["MambaForCausalLM"]},
            r"architectures must name one of Bert.*; got MambaForCausalLM",
        ),
        ("LlamaForCausalLM", {"architectures": None}, r"architectures must name one of .*; got none"),
        (
            "LlamaForCausalLM",
            {"num_hidden_layers": None},
            r"config\.json must have the key num_hidden_layers; it has architectures",
        ),
        ("LlamaForCausalLM", {"hidden_act": "mish"}, r"config\.json hidden_act must be one of silu, .*; got 'mish'"),
        ("LlamaForCausalLM", {"num_attention_heads": 0}, r"config\.json num_attention_heads must be an integer from 1; got 0"),
        ("LlamaForCausalLM", {"num_key_value_heads": 5}, r"model\.kv_heads must divide heads, which is 32; got 5"),
        ("OPTForCausalLM", {"word_embed_proj_dim": 512}, r"word_embed_proj_dim must be hidden_size, which is 12288; got 512"),
        ("T5ForConditionalGeneration", {"num_decoder_layers": 6}, r"num_decoder_layers must be num_layers, which is 12; got 6"),
        ("Qwen2ForCausalLM", {"use_sliding_window": True, "max_window_layers": 21}, r"got runs of 21, 7 layers, .* full"),
        ("LlamaForCausalLM", {"architectures": 5}, r"architectures must be a list of names; got 5"),
        ("LlamaForCausalLM", {"architectures": "LlamaForCausalLM"}, r"architectures must be a list of names; got 'LlamaFor"),
        ("LlamaForCausalLM", {"architectures": [["LlamaForCausalLM"]]}, r"architectures must be a list of names; got \[\["),
        ("LlamaForCausalLM", {"text_config": []}, r"text_config must be an object; got \[\]"),
        (
            "LlamaForCausalLM",
            {"num_key_value_head": 8, "num_key_value_heads": GONE},
            r"num_key_value_head is not a key; did you ",
        ),
        ("LlamaForCausalLM", {"Head_Dim": 8, "head_dim": GONE}, r"Head_Dim is not a key; did you mean head_dim\?"),
        ("LlamaForCausalLM", {"layer_types": ["sliding_attention"] * 32}, r"layer_types must be full_attention for each layer"),
        ("LlamaForCausalLM", {"hidden_act": ["silu"]}, r"hidden_act must be one of .*; got \['silu'\]"),
        ("LlamaForCausalLM", {"vocab_size": "32000"}, r"config\.json vocab_size must be an integer from 1; got '32000'"),
        ("Qwen3ForCausalLM", {"layer_types": "full_attention"}, r"layer_types must be a list of 36 .*; got 'full_attention'"),
        ("Qwen3ForCausalLM", {"layer_types": ["full_attention"] * 5}, r"layer_types must be a list of 36 .*; got 5 entries"),
        ("Qwen3ForCausalLM", {"layer_types": []}, r"layer_types must be a list of 36 .*; got 0 entries"),
        ("Qwen3ForCausalLM", {"layer_types": ["Full_attention"] * 36}, r"each full_attention or sliding_attention; got 'Full_"),
        ("Qwen3ForCausalLM", {"layer_types": [["full_attention"]] * 36}, r"got \['full_attention'\] for layer 0"),
        (
            "Qwen3ForCausalLM",
            {"layer_types": ["sliding_attention"] * 36},
            r"layer_types must be full_attention alone where no win",
        ),
        ("Qwen3ForCausalLM", {"use_sliding_window": "false"}, r"use_sliding_window must be true or false; got 'false'"),
        (
            "Qwen2ForCausalLM",
            {"use_sliding_window": True, "max_window_layers": "0"},
            r"max_window_layers must be an integer from 0; got '0'",
        ),
        ("Gemma3ForCausalLM", {"sliding_window_pattern": 0}, r"sliding_window_pattern must be an integer from 1; got 0"),
        ("MistralForCausalLM", {"num_hidden_layers": 10**9}, r"num_hidden_layers must be at most 10000; got 1000000000"),
        ("MixtralForCausalLM", {"num_local_experts": 10**11}, r"experts must be an integer from 1 to 4096; got 100000000000"),
        ("Llama4ForCausalLM", {"no_rope_layers": [1, 1, 1, True] * 12}, r"no_rope_layers .* each 0 or 1; got True for layer 3"),
        ("Llama4ForCausalLM", {"moe_layers": [0, 2, 4]}, r"moe_layers must be each layer whose number 2 divides.*; got \[0, 2"),
        ("FalconForCausalLM", {"multi_query": "no", "new_decoder_architecture": False}, r"multi_query must be true or false"),
        ("Qwen3MoeForCausalLM", {"mlp_only_layers": 5}, r"mlp_only_layers must be the lowest layers, .*; got 5"),
        ("Qwen3MoeForCausalLM", {"mlp_only_layers": [3]}, r"mlp_only_layers must be the lowest layers, .*; got \[3\]"),
        ("BloomForCausalLM", {"n_embed": "wide"}, r"config\.json hidden_size or n_embed must be an integer from 1; got 'wide'"),
    ],
)
def test_unusable_configurations_are_explained(architecture: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        model_from_hugging_face({key: one for key, one in (_config(architecture) | changes).items() if one is not GONE})


@pytest.mark.parametrize(("content", "message"), [("{", "Expecting"), ("[1]", "holds list"), (None, "No such file")])
def test_unreadable_files_are_named(content: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=rf"model must name a readable file of plain data .*broken\.json': .*{message}"):
        model_from_hugging_face(file)
