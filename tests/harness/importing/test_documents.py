"""What the files of other tools say of a decode step, or why they say nothing."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from roofcast.harness.facts.devices import device_named
from roofcast.harness.importing.documents import entries
from roofcast.harness.importing.names import model_reported
from roofcast.harness.importing.rows import outcomes

HERE = Path(__file__).parent
LLAMA = json.loads((HERE / "llama_bench.json").read_text())
SERVING = {
    "date": "20250424-115850",
    "backend": "vllm",
    "model_id": "meta-llama/Llama-3.1-8B-Instruct",
    "num_prompts": 10,
    "request_rate": "inf",
    "max_concurrency": 1,
    "tensor_parallel_size": "2",
    "duration": 20.0,
    "completed": 10,
    "total_input_tokens": 10240,
    "total_output_tokens": 1280,
    "median_tpot_ms": 5.0,
    "mean_tpot_ms": 5.1,
}
LATENCY = json.loads((HERE / "vllm_latency.json").read_text())
RECORD = {
    "benchmark": {
        "name": "vLLM benchmark",
        "extra_info": {
            "args": {
                "model": "meta-llama/Llama-3.1-8B",
                "batch_size": 1,
                "input_len": 32,
                "output_len": 128,
                "tensor_parallel_size": 1,
                "dtype": "bfloat16",
                "quantization": None,
                "kv_cache_dtype": "auto",
            }
        },
    },
    "model": {"name": "meta-llama/Llama-3.1-8B"},
    "metric": {"name": "latency", "benchmark_values": [1.28, 1.28, 1.34], "extra_info": {}},
}
TRTLLM = {
    "engine": {
        "model": "meta-llama/Llama-3.1-70B",
        "version": "1.0.0",
        "dtype": "bfloat16",
        "quantization": "FP8",
        "kv_cache_dtype": "FP8",
    },
    "machine": {"name": "NVIDIA H100 80GB HBM3", "memory.total": 79.1},
    "world_info": {"tp_size": 4, "pp_size": 1, "ep_size": 1},
    "request_info": {
        "num_requests": 10,
        "avg_num_concurrent_requests": 1.0,
        "avg_input_length": 1024.0,
        "avg_output_length": 128.0,
    },
    "performance": {"output_throughput_per_user_tok_s": 80.0},
    "streaming_metrics": {"avg_tpot_ms": 10.0},
}
PRINTED = """
[TRT-LLM] [I]
===========================================================
= PYTORCH BACKEND
===========================================================
Model:\t\t\tmeta-llama/Llama-3.1-70B
TensorRT LLM Version:\t1.0.0
Dtype:\t\t\tbfloat16
KV Cache Dtype:\t\tFP8
Quantization:\t\tFP8

===========================================================
= MACHINE DETAILS
===========================================================
NVIDIA H100 80GB HBM3, memory 79.10 GB, 2.62 GHz

===========================================================
= WORLD + RUNTIME INFORMATION
===========================================================
TP Size:                4
PP Size:                1
EP Size:                1

===========================================================
= REQUEST DETAILS
===========================================================
Number of requests:             10
Number of concurrent requests:  1.0000
Average Input Length (tokens):  1024.0000
Average Output Length (tokens): 128.0000
===========================================================
= PERFORMANCE OVERVIEW
===========================================================
Per User Output Throughput [w/ ctx] (tps/user):   80.0000
Average time-per-output-token [TPOT] (ms):        10.0000
"""
PYTEST = {
    "machine_info": {"machine": "x86_64"},
    "commit_info": {"id": "b87b9aa"},
    "datetime": "2026-08-14T16:06:07.146833",
    "version": "5.1.0",
    "benchmarks": [
        {
            "name": "test_decode",
            "stats": {"median": 0.5, "mean": 0.51},
            "extra_info": {
                "model": "llama-3.1-8b",
                "hardware": "H100",
                "engine": "transformers",
                "weight_bits": 16,
                "n_chips": 1,
                "tokens": 32,
            },
        },
        {"name": "test_other", "stats": {"median": 0.5}, "extra_info": {}},
    ],
}


def one(document, **given):
    (found,) = outcomes(entries(document if isinstance(document, str) else json.dumps(document)), given)
    return found


def row(document, **given):
    found = one(document, **given)
    assert found.row is not None, found.reason
    return found.row


def test_llama_bench_says_everything():
    found = row([LLAMA])
    assert (found.hardware, found.model, found.tok_s) == ("RTX_4080", "qwen2.5-7b", pytest.approx(118.881588, rel=1e-5))
    assert float(found.weight_bits) == pytest.approx(8 * 4677120000 / 7615616512, rel=1e-3)
    assert (found.n_chips, found.kv_bits, found.context, found.engine) == ("1", "16", "tg128 @d512", "llama.cpp b5163")
    assert found.source_date == "2025-04-24"


def test_vllm_serving_counts_the_tokens_after_the_first():
    found = row(SERVING, hardware="H100_SXM", weight_bits="16")
    assert (found.model, found.tok_s, found.context) == ("llama-3.1-8b", 200.0, "in1024/out128")
    assert (found.n_chips, found.engine, found.source_date, found.metric_note) == ("2", "vllm", "2025-04-24", "")


def test_vllm_latency_is_of_whole_requests():
    given_all = {"hardware": "H100_SXM", "model": "llama-3.1-8b", "n_chips": "1", "weight_bits": "16"}
    bare = row(LATENCY, **given_all, input_len="32", output_len="128")
    full = row([RECORD], hardware="H100_SXM")
    for found in (bare, full):
        assert (found.tok_s, found.context, found.metric_note) == (100.0, "in32/out128", "incl. prefill")
        assert (found.engine, found.weight_bits, found.n_chips) == ("vLLM", "16", "1")


@pytest.mark.parametrize("document", [TRTLLM, PRINTED])
def test_trtllm_bench_as_json_and_as_printed(document):
    found = row(document)
    assert (found.hardware, found.model, found.tok_s, found.n_chips) == ("H100_SXM", "llama-3.1-70b", 100.0, "4")
    assert (found.weight_bits, found.kv_bits, found.context) == ("8", "8", "in1024/out128")
    assert (found.engine, found.parallelism) == ("TensorRT-LLM 1.0.0", "TP4")


def test_trtllm_bench_without_streaming_counts_the_prefill():
    found = row({key: value for key, value in TRTLLM.items() if key != "streaming_metrics"})
    assert (found.tok_s, found.metric_note) == (80.0, "incl. prefill")


def test_a_pytest_benchmark_says_in_its_extra_info_what_it_decodes():
    first, second = outcomes(entries(json.dumps(PYTEST)), {})
    assert first.row is not None
    assert (first.row.tok_s, first.row.hardware, first.row.engine) == (64.0, "H100_SXM", "transformers")
    assert (second.place, second.reason) == (
        "benchmarks[1]",
        "tokens must be a whole number from 1, which the file does not say: tokens= does; got ''",
    )


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (LLAMA | {"n_prompt": 512, "n_gen": 0}, "n_gen is 0: a prompt of 512 was processed"),
        (LLAMA | {"n_prompt": 512}, "n_prompt is 512 and n_gen 128: the speed counts both together"),
        (LLAMA | {"n_gpu_layers": 10}, "n_gpu_layers is 10"),
        (LLAMA | {"no_kv_offload": True}, "part of the model ran on the CPU"),
        (LLAMA | {"gpu_info": "NVIDIA GeForce RTX 4080, NVIDIA GeForce RTX 4080"}, "layer-split over chips"),
        (SERVING | {"max_concurrency": 8}, "max_concurrency is 8: only a speed at batch 1"),
        (SERVING | {"max_concurrency": None}, "max_concurrency is not limited"),
        ({"elapsed_time": 3.0, "num_requests": 10, "total_num_tokens": 99, "tokens_per_second": 33.0}, "not the speed of one"),
        (RECORD | {"metric": RECORD["metric"] | {"name": "ttft"}}, "metric.name is 'ttft'"),
        (TRTLLM | {"decoding_stats": {"mode": "EAGLE"}}, "speculative decoding gives several tokens a step"),
        (TRTLLM | {"request_info": TRTLLM["request_info"] | {"avg_num_concurrent_requests": 9.0}}, "requests is 9"),
    ],
)
def test_what_is_no_decode_step_at_batch_1_is_left_out(document, reason):
    found = one(document)
    assert found.is_left_out
    assert found.row is None
    assert reason in found.reason


@pytest.mark.parametrize(
    ("document", "given_keys", "reason"),
    [
        (LLAMA | {"avg_ts": "fast"}, {}, "avg_ts must be a number from 0; got 'fast'"),
        (LLAMA | {"avg_ts": 0}, {}, "avg_ts must be above 0; got 0"),
        (LLAMA | {"avg_ts": 10**400}, {}, "avg_ts must be a number from 0"),
        (LLAMA | {"type_k": "q9"}, {}, "type_k must be one of f32"),
        (LLAMA | {"gpu_info": "Voodoo 2"}, {}, "got 'Voodoo 2'; known: "),
        (LLAMA | {"gpu_info": "Voodoo 2"}, {}, "device= says which it is"),
        (LLAMA | {"model_filename": "ggml-model-q4_0.gguf"}, {}, "model= says which it is"),
        (LLAMA, {"model": "llama-3.1-8b"}, "model must be that of the file, qwen2.5-7b; got 'llama-3.1-8b'"),
        (LLAMA | {"model_n_params": 3e9}, {}, "model must have the 3 billion parameters of the file; qwen2.5-7b has 7.6"),
        (LLAMA | {"avg_ts": 5000.0}, {}, "tok_s must not exceed"),
        (LLAMA, {"engine": "mlx-lm", "hardware": "RTX_4080"}, ""),
        (
            LLAMA | {"gpu_info": "AMD Radeon RX 7900 XTX"},
            {"engine": "tensorrt-llm"},
            "engine must be one that runs on RX_7900_XTX",
        ),
        (SERVING, {}, "hardware must be given, which the file does not say: device= does"),
        (
            SERVING,
            {"hardware": "H100_SXM"},
            "weight_bits must be given, which the file does not say: format= or weight_bits= does",
        ),
        (SERVING | {"backend": "openai"}, {"hardware": "H100_SXM"}, "engine must be given"),
        (LATENCY, {}, "input_len must be a whole number from 1"),
        (LATENCY | {"latencies": [1.0, "x"]}, {}, "latencies must be a list of seconds above 0"),
        (TRTLLM | {"world_info": 3}, {}, "world_info must be an object; got 3"),
        ({"a": 1}, {}, "must be a result of llama-bench, vllm bench, trtllm-bench, pytest-benchmark; got an object with a"),
        ("words", {}, "the file is neither JSON nor a printed report"),
        ("", {}, "the file is neither JSON nor a printed report"),
        ("[" * 100_000, {}, "the file is neither JSON nor a printed report"),
    ],
)
def test_what_cannot_be_taken_says_why(document, given_keys, reason):
    found = one(document, **given_keys)
    assert not found.is_left_out
    assert reason in found.reason
    assert (found.row is None) == bool(reason)


def test_a_line_that_is_broken_is_named_and_the_others_are_taken():
    lines = [json.dumps(LLAMA), "{broken", json.dumps(LLAMA | {"avg_ts": 60.0})]
    first, second, third = outcomes(entries("\n".join(lines)), {})
    assert (first.place, third.place) == ("line 1", "line 3")
    assert first.row is not None
    assert third.row is not None
    assert second.place == "line 2"
    assert second.reason.startswith("is not JSON")


def test_an_array_that_breaks_off_gives_what_came_before():
    text = json.dumps([LLAMA, LLAMA], indent=1)
    first, second = outcomes(entries(text[:-200]), {})
    assert first.row is not None
    assert second.reason.startswith("breaks off: line ")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("models/Qwen2.5-7B-Instruct-Q4_K_M.gguf", "qwen2.5-7b"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("neuralmagic/Meta-Llama-3.1-8B-Instruct-FP8-dynamic", "llama-3.1-8b"),
        (r"C:\\models\\llama-2-7b.Q4_0.gguf", "llama-2-7b"),
        ("Qwen3-4B-Instruct-2507-bf16.gguf", "qwen3-4b"),
        ("openai/gpt-oss-20b", "gpt-oss-20b"),
    ],
)
def test_models_are_found_under_the_names_of_their_files(text, name):
    assert model_reported(text) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("NVIDIA GeForce RTX 4090", "RTX_4090"),
        ("NVIDIA A100-SXM4-80GB", "A100_SXM_80GB"),
        ("AMD Instinct MI300X", "MI300X"),
        ("Apple M2 Ultra", "Apple_M2_Ultra"),
    ],
)
def test_machines_are_found_under_the_names_of_their_drivers(text, name):
    found = row(LLAMA | {"gpu_info": text, "avg_ts": 20.0})
    assert found.hardware == device_named(name).name


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
DOCUMENTS = (LLAMA, SERVING, LATENCY, RECORD, TRTLLM, PYTEST)


@given(st.sampled_from(DOCUMENTS), st.data())
def test_no_field_whatever_it_holds_is_more_than_a_reason(document, data):
    name = data.draw(st.sampled_from(sorted(document)))
    content = json.dumps(document | {name: data.draw(json_values)})
    for found in outcomes(entries(content), {"hardware": "H100_SXM", "weight_bits": "16", "n_chips": "1"}):
        assert (found.row is None) == bool(found.reason)
