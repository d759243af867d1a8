"""Configurations of Cerebras Model Zoo are models: the same shape as the file in conf/model, where there is one."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from roofcast.harness import cli
from roofcast.harness.errors import UsageError
from roofcast.harness.facts.model_zoo import model_facts_from_model_zoo, section_of
from roofcast.harness.facts.models import model_from, model_named

# The sections as they stand in github:Cerebras/modelzoo, less what training needs.
LLAMA = {
    "name": "llama",
    "attention_module": "multiquery_attention",
    "extra_attention_params": {"num_kv_groups": 8},
    "filter_size": 8192,
    "hidden_size": 2048,
    "max_position_embeddings": 8192,
    "nonlinearity": "swiglu",
    "norm_type": "rmsnorm",
    "num_heads": 32,
    "num_hidden_layers": 16,
    "position_embedding_type": "rotary",
    "share_embedding_weights": True,
    "use_projection_bias_in_attention": False,
    "vocab_size": 128256,
}
GPT2 = {
    "hidden_size": 768,
    "vocab_size": 50257,
    "position_embedding_type": "learned",
    "share_embedding_weights": True,
    "max_position_embeddings": 2048,
    "num_hidden_layers": 12,
    "num_heads": 12,
    "use_projection_bias_in_attention": True,
    "filter_size": 3072,
    "nonlinearity": "gelu",
}
GEMMA2 = {
    "name": "gemma2",
    "attention_inner_dim": 4096,
    "attention_logit_softcapping": 50.0,
    "attention_module": "multiquery_attention",
    "attention_sliding_window_length": 4096,
    "extra_attention_params": {"num_kv_groups": 8},
    "filter_size": 14336,
    "final_logit_softcapping": 30.0,
    "hidden_size": 3584,
    "max_position_embeddings": 8192,
    "nonlinearity": "geglu",
    "norm_first_sandwich": True,
    "norm_type": "rmsnorm",
    "num_heads": 16,
    "num_hidden_layers": 42,
    "position_embedding_type": "rotary",
    "share_embedding_weights": True,
    "sliding_window_every_other_decoder_layer": True,
    "use_projection_bias_in_attention": False,
    "vocab_size": 256000,
}
MIXTRAL = {
    "name": "mixtral",
    "vocab_size": 32000,
    "hidden_size": 4096,
    "position_embedding_type": "rotary",
    "share_embedding_weights": False,
    "max_position_embeddings": 32768,
    "num_hidden_layers": 32,
    "norm_type": "rmsnorm",
    "num_heads": 32,
    "attention_module": "multiquery_attention",
    "extra_attention_params": {"num_kv_groups": 8},
    "use_projection_bias_in_attention": False,
    "filter_size": 14336,
    "nonlinearity": "swiglu",
    "moe": {"num_experts": 8, "top_k": 2, "load_balancing_loss_coef": 0.02},
}
JAIS = {
    "name": "jais",
    "filter_size": 13653,
    "hidden_size": 5120,
    "max_position_embeddings": 2048,
    "nonlinearity": "swiglu",
    "norm_type": "layernorm",
    "num_heads": 40,
    "num_hidden_layers": 40,
    "position_embedding_type": "alibi",
    "scale_qk_dot_by_d": True,
    "share_embedding_weights": True,
    "use_projection_bias_in_attention": True,
    "vocab_size": 84992,
}
BERT = {
    "name": "bert",
    "vocab_size": 30522,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_heads": 16,
    "filter_size": 4096,
    "encoder_nonlinearity": "gelu",
    "max_position_embeddings": 512,
}
MISTRAL = {key: value for key, value in MIXTRAL.items() if key != "moe"} | {
    "name": "mistral",
    "attention_sliding_window_length": 4096,
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


GONE = object()
"""Stands for a key that is left out."""


def read(section, name="mine"):
    return model_from(model_facts_from_model_zoo("model", section), name)


@pytest.mark.parametrize(
    ("section", "name", "differs"),
    [
        (LLAMA, "llama-3.2-1b", {"max_context": 8192, "vocab": 128256}),
        (GPT2, "gpt2", {"max_context": 2048}),
        (GEMMA2, "gemma-2-9b", {"scale_dim": 0}),
        (MIXTRAL, "mixtral-8x7b", {}),
        (MISTRAL, "mistral-7b-v0.1", {}),
        (JAIS, "jais-13b", {}),
        (BERT, "bert-large", {}),
    ],
)
def test_a_configuration_is_the_model_that_conf_has(section, name, differs):
    assert read(section, model_named(name).name) == replace(model_named(name), **differs)


def test_shared_experts_and_parallel_blocks_are_read():
    shared = read(GPT2 | {"name": "mixtral", "moe": {"num_experts": 4, "top_k": 1, "num_shared_experts": 1}})
    assert (shared.mixture.experts, shared.mixture.shared_experts, shared.d_ff) == (4, 1, 0)
    falcon = read(GPT2 | {"name": "falcon", "use_untied_layer_norm": True, "position_embedding_type": "rotary"})
    assert (falcon.parallel_block, falcon.parallel_norms) == (True, 2)
    assert read(GPT2 | {"position_embedding_type": None}).position == "none"
    assert read({"hidden_size": 768}) == replace(model_named("gpt2"), name="mine")


@pytest.mark.parametrize(
    "whole",
    [
        {"trainer": {"init": {"model": LLAMA, "seed": 1}, "fit": {}}},
        {"trainer": [{"trainer": {"init": {"model": LLAMA}}}, {"trainer": {}}]},
        {"train_input": {}, "model": LLAMA, "optimizer": {}},
    ],
)
def test_old_and_new_files_are_taken_by_any_verb(whole, capsys):
    Path("params_llama.yaml").write_text(yaml.safe_dump(whole))
    assert cli.run(["predict", "model=params_llama.yaml", "device=wse-3"]) == cli.OK
    said = capsys.readouterr().out
    assert "params_llama in bf16, batch 1" in said
    assert "params_llama.yaml, a configuration of Cerebras Model Zoo" in said


def test_other_files_are_not_taken_for_one():
    for other in (
        {"name": "mine", "layers": 2},
        {"model": {"layers": 2}},
        [],
        None,
        {"trainer": {"init": None}},
        {"trainer": []},
    ):
        assert section_of(other) is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "t5"}, "model.name must be one of gpt2, gpt3, llama"),
        ({"nonlinearity": "tanh"}, "model.nonlinearity must be one of swiglu, geglu"),
        ({"hidden_size": 0}, "model.hidden_size must be an integer from 1; got 0"),
        ({"num_heads": 7}, "model.num_heads must divide the width of attention, which is 2048; got 7"),
        ({"extra_attention_params": {"num_kv_groups": "8"}}, "num_kv_groups must be an integer from 1; got '8'"),
        ({"extra_attention_params": {"num_kv_groups": 5}}, "model.kv_heads must divide heads, which is 32; got 5"),
        (
            {"extra_attention_params": ["num_kv_groups", 8]},
            r"extra_attention_params must be a mapping .*; got \['num_kv_groups', 8",
        ),
        (
            {"extra_attention_params": {"num_kv_group": 8}},
            "extra_attention_params.num_kv_group is not a key; did you mean num_kv_g",
        ),
        (
            {"attention_module": "multiquery"},
            "attention_module must be one of aiayn_attention, multiquery_attention; got 'multi",
        ),
        ({"attention_type": "dot"}, "attention_type must be one of scaled_dot_product, dot_product; got 'dot'"),
        ({"attention_logit_softcapping": "30"}, "attention_logit_softcapping must be a number or null; got '30'"),
        ({"attention_sliding_window_length": "4096"}, "attention_sliding_window_length must be an integer from 1; got '4096'"),
        ({"use_projection_bias_in_attention": "no"}, "use_projection_bias_in_attention must be true or false; got 'no'"),
        ({"fixed_sparse_attention": {"local_attn_ctx": 16}}, "fixed_sparse_attention must be null, for nothing is known"),
        ({"cross_attention_layers": [3]}, r"cross_attention_layers must be null, .*; got \[3\]"),
        ({"Filter_Size": 8192, "filter_size": GONE}, "model.Filter_Size is not a key; did you mean filter_size"),
        ({"moe": {"num_expert": 8}}, "model.moe.num_expert is not a key; did you mean num_experts"),
        ({"moe": {"num_experts": 8, "num_shared_experts": [1]}}, r"num_shared_experts must be an integer from 1; got \[1\]"),
        ({"name": ["llama"]}, r"model.name must be one of .*; got \['llama'\]"),
        ({"moe": 8}, "model.moe must be a mapping with num_experts and top_k; got 8"),
        ({"share_embedding_weights": "yes"}, "model.share_embedding_weights must be true or false; got 'yes'"),
    ],
)
def test_what_cannot_be_is_one_sentence(change, sentence):
    with pytest.raises(UsageError, match=sentence):
        read({key: one for key, one in (LLAMA | change).items() if one is not GONE})
