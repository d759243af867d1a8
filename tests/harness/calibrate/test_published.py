"""Files of published speeds: what their texts mean, and which lines are no rows."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from roofcast.harness.calibrate.engine import engine_named
from roofcast.harness.calibrate.published import Published, read, situation, tokens
from roofcast.harness.errors import UsageError
from roofcast.harness.facts.devices import device_named

HEADER = (
    "id,params_b,active_params_b,hardware,n_chips,parallelism,model,"
    "weight_bits,kv_bits,context,batch,engine,tok_s,metric_note,source_date"
)


def one(**fields: str) -> Published:
    """A row that is fine, with some fields changed."""
    usual = {"id": "x", "hardware": "A100-SXM-80GB", "n_chips": "1", "model": "Llama-3-8B", "weight_bits": "16", "tok_s": "80"}
    file = io.StringIO()
    writer = csv.DictWriter(file, HEADER.split(","))
    writer.writeheader()
    writer.writerow(usual | fields)
    file.seek(0)
    (row,), bad = read(file)
    assert not bad
    return row


@pytest.mark.parametrize(
    ("text", "prompt", "generated"),
    [
        ("in1024/out128", 1024, 128),
        ("in1k/out2k", 1024, 2048),
        ("tg128", 0, 128),
        ("tg32 @d32768", 32768, 32),
        ("~205", 5, 200),
        ("short", 10, 128),
        ("short prompt/out100", 20, 100),
        ("out512", 64, 512),
        ("max_seq 256", 128, 128),
        ("8192 max", 4096, 4096),
        ("2048", 1024, 1024),
        ("", 256, 512),
        ("128K", 65536, 65536),
        ("131072 tokens", 65536, 65536),
        ("131,072", 65536, 65536),
        ("in1,024/out1.5k", 1024, 1536),
        ("1M", 2**19, 2**19),
    ],
)
def test_a_context_text_gives_tokens_in_and_out(text, prompt, generated):
    assert tokens(text) == (prompt, generated)


@pytest.mark.parametrize("text", ["a long one", "-1", "128G", "1,31,072", "999999999k", "in-1/out5", "2048 max_seq", "nan"])
def test_a_context_that_is_not_understood_is_refused(text):
    with pytest.raises(UsageError, match=rf"context must be .*; got '{re.escape(text)}'"):
        tokens(text)
    with pytest.raises(UsageError, match="context must be"):
        situation(one(context=text))


@given(st.text(max_size=20) | st.from_regex(r"\A(in)?[0-9,.]{1,6}[kmKM]?( tokens|/out[0-9k]{1,4})?\Z"))
def test_any_context_text_gives_tokens_or_a_refusal(text):
    try:
        prompt, generated = tokens(text)
    except UsageError:
        return
    assert 0 <= prompt <= 1e9
    assert 1 <= generated <= 1e9


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"metric_note": "MTP3 - SPECULATIVE"}, "speculative"),
        ({"parallelism": "layer-split2"}, "layer-split"),
        ({"metric_note": "eager (outlier)"}, "outlier"),
        ({"metric_note": "no spec-dec claimed"}, ""),
        ({"parallelism": "TP2"}, ""),
    ],
)
def test_marked_rows_are_left_out_and_others_are_not(fields, why):
    reason = one(**fields).left_out
    assert why in reason
    assert bool(reason) == bool(why)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a,,,A100,1,,Llama-3-8B,16,,,,vLLM,fast,,", "line 2: tok_s must be a number; got 'fast'"),
        ("a,,,A100,1,,Llama-3-8B,16,,,,vLLM,-3,,", "line 2: tok_s must be above 0; got '-3'"),
        ("a,,,A100,1,,Llama-3-8B,16,,,,vLLM,nan,,", "line 2: tok_s must be a number; got 'nan'"),
        ("a,,,,1,,Llama-3-8B,16,,,,vLLM,80,,", "line 2: hardware must be given"),
        ("a,,,A100", "line 2: model must be given"),
        ("a,,,A100,1,,Llama-3-8B,16,,,,vLLM,80,,,,,,", "line 2: there are more fields than columns"),
    ],
)
def test_a_bad_line_is_refused_with_its_number_and_the_rest_are_read(line, reason):
    good = "b,,,A100,1,,Llama-3-8B,16,,,,vLLM,80,,"
    rows, bad = read(io.StringIO(f"{HEADER}\n{line}\n{good}\n"))
    assert [row.id for row in rows] == ["b"]
    assert [refused.reason for refused in bad] == [reason]


def test_a_row_without_id_goes_by_its_line():
    assert one(id="").id == "line 2"


@pytest.mark.parametrize("text", ["", "hardware,model\nA100,Llama-3-8B\n"])
def test_a_file_without_the_columns_is_refused(text):
    with pytest.raises(UsageError, match="published must have the columns hardware, model, tok_s; it lacks"):
        read(io.StringIO(text))


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("nowhere.csv", "binary.csv"):
        with pytest.raises(UsageError, match=f"published must name a readable CSV file; got .*{name}"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"hardware": "A1000"}, "device must be a file in conf/device"),
        ({"hardware": "GPU (somewhere, unspecified)"}, "hardware must say which chip it is"),
        ({"model": "lama-3-8b"}, "did you mean llama-3-8b"),
        ({"model": "bert-base"}, "an encoder, which has no decode step"),
        ({"n_chips": "some"}, "n_chips must be a whole number from 1; got 'some'"),
        ({"n_chips": "0"}, "n_chips must be a whole number from 1; got '0'"),
        ({"weight_bits": "0.1"}, "weight_bits must be from 1 to 64; got '0.1'"),
        ({"weight_bits": "bf16"}, "weight_bits must be a number; got 'bf16'"),
        ({"kv_bits": "-4"}, "kv_bits must be from 1 to 64; got '-4'"),
        ({"model": "Mystery-8B", "params_b": "0.001"}, "model must be a file in conf/model"),
        (
            {"model": "Mystery-8B", "params_b": "8", "active_params_b": "9"},
            "active_params_b must be above 0",
        ),
        ({"batch": "8"}, "batch must be 1; got '8'"),
    ],
)
def test_a_row_that_cannot_be_predicted_says_why(fields, reason):
    with pytest.raises(UsageError, match=reason.replace("(", r"\(")):
        situation(one(**fields))


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("GH200 (somewhere; 96 GB likely)", "GH200_96GB"),
        ("A100 (Argonne; 40 GB likely, unverified)", "A100_SXM_40GB"),
        ("L40S-48GB", "L40S"),
        ("AMD MI250", "MI250"),
        ("HGX-B200", "B200"),
        ("GB200-NVL72", "GB200"),
        ("Apple-M2-Ultra-60c", "Apple_M2_Ultra"),
        ("DGX-Spark-GB10", "DGX_Spark_GB10"),
    ],
)
def test_a_label_may_say_more_than_the_chip(label, name):
    assert situation(one(hardware=label)).device.name == name


def test_weights_are_counted_at_their_true_bits():
    run = situation(one(weight_bits="4.5", engine="llama.cpp"))
    # Llama-3-8B streams 7.504 G weights a token (its file in conf/model counts them).
    assert run.weight_bytes == pytest.approx(7.504e9 * 4.5 / 8, rel=1e-3)
    assert run.floor_us == pytest.approx((run.weight_bytes + run.columns.kv_bytes[0]) / 2039e3)


def test_engines_that_do_not_quantise_the_head_read_it_at_16_bits():
    narrow, wide = situation(one(weight_bits="4.5", engine="llama.cpp")), situation(one(weight_bits="4.5", engine="vLLM 0.9"))
    assert wide.weight_bytes - narrow.weight_bytes == pytest.approx(128000 * 4096 * (16 - 4.5) / 8, rel=1e-2)


@pytest.mark.parametrize(("engine", "rest"), [("vLLM", 16), ("llama.cpp", 8.5)])
def test_mxfp4_narrows_only_the_experts(engine, rest):
    run = situation(one(model="gpt-oss-20b", weight_bits="4.25", engine=engine))
    assert (run.weight_bits, run.body_bits, run.head_bits) == (4.25, rest, rest)


def test_what_is_not_published_is_guessed_and_said_so():
    run = situation(one(hardware="SN40L", model="gpt-oss-120b", n_chips="", weight_bits="", engine="SambaNova"))
    assert (run.chips, run.weight_bits, run.is_guessed) == (16, 4.25, True)
    wafers = situation(one(hardware="CS-3 (WSE-3)", model="Llama-3.1-70B", n_chips="", engine="Cerebras"))
    assert wafers.chips == 4
    assert not situation(one()).is_guessed


def test_the_cache_is_split_over_no_more_chips_than_heads():
    assert situation(one(n_chips="16")).kv_streams == 8
    assert situation(one(model="DeepSeek-R1-671B", n_chips="16")).kv_streams == 1
    assert situation(one(n_chips="8", parallelism="naive-PP8")).streams == 1


@pytest.mark.parametrize(
    ("text", "device", "date", "name"),
    [
        ("vLLM 0.6.3", "h100", "", "vllm 0.6"),
        ("vLLM", "h100", "", "vllm"),
        ("tt-metal vLLM", "h100", "", "tt-metal"),
        ("ollama/llama.cpp", "h100", "", "llama.cpp"),
        ("ExLlamaV2", "h100", "", "exllama v2"),
        ("Deepspeed", "Gaudi2", "", "deepspeed on gaudi"),
        ("Deepspeed", "h100", "", "deepspeed"),
        ("provider API", "cs-3", "2024-09", "cerebras at launch"),
        ("provider API", "cs-3", "2025", "cerebras"),
        ("Cerebras", "cs-3", "", "cerebras"),
        ("provider API", "groq", "2024-11", "groq"),
        ("My Engine", "h100", "", "my engine"),
        ("", "h100", "", "unstated"),
    ],
)
def test_engines_go_by_many_names(text, device, date, name):
    assert engine_named(text, device_named(device), date).name == name


@pytest.mark.parametrize(
    ("params_b", "active_params_b", "layers", "is_mixture"),
    [("3.1", "", 28, False), ("70", "70", 80, False), ("109", "17", 48, True)],
)
def test_a_model_of_like_size_stands_in_for_one_without_a_file(params_b, active_params_b, layers, is_mixture):
    run = situation(one(model="Mystery", params_b=params_b, active_params_b=active_params_b))
    active = float(active_params_b or params_b) * 1e9
    assert (run.model.layers, run.model.mixture is not None) == (layers, is_mixture)
    assert run.weight_bytes == pytest.approx(2 * active, rel=1e-6)
