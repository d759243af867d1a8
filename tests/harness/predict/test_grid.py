"""`roofcast table grid=true`: every cell is what `predict` answers, to the last digit, in four forms."""

import csv
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofcast.harness import cli
from roofcast.harness.config.filters import as_filters
from roofcast.harness.errors import UsageError
from roofcast.harness.facts.catalogue import names
from roofcast.harness.facts.devices import device_named
from roofcast.harness.facts.models import model_named
from roofcast.harness.predict.answer import Ask, answers, true_bits
from roofcast.harness.predict.grid import Axes, grid
from roofcast.kernels.formats import format_names

MODELS = ("llama-3.2-1b", "llama-3.1-70b", "gpt3-175b", "gpt-4", "gpt-oss-120b", "deepseek-v3", "gemma-2-9b", "t5-large")
FORMATS = tuple((name, name if name in format_names("kv") else "bf16") for name in format_names("weight"))


def axes(**more) -> Axes:
    models = tuple(map(model_named, more.pop("models", MODELS)))
    devices = tuple(map(device_named, more.pop("devices", names("device"))))
    contexts = more.pop("contexts", (1, 2048, 131072))
    return Axes(models, devices, more.pop("formats", FORMATS), contexts, **more)


@pytest.fixture(scope="module")
def whole():
    found = grid(axes(price=2.5, prompt=4000))
    return found, found.columns()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


def check(found, columns, cell: int) -> None:
    """The cell against the answer to the same question, bit by bit."""
    asked = found.axes
    model, device = asked.models[found.model[cell]], asked.devices[found.device[cell]]
    weight, kv = asked.formats[found.format[cell]]
    ask = Ask(
        model,
        device,
        weight=weight,
        weight_bits=true_bits(weight),
        kv_bits=true_bits(kv, (1, model.head_dim)),
        context=asked.contexts[found.context[cell]],
        prompt=asked.prompt,
        engine=asked.engine,
        parallel=asked.parallel,
        price=asked.price,
    )
    (one,) = answers([ask])
    assert columns["refusal"][cell] == one.refusal
    if one.refusal:
        assert columns["devices"][cell] == 0
        assert math.isnan(columns["tokens_per_s"][cell])
        return
    ranges = {"tokens_per_s": one.tokens_per_s, "tpot_ms": one.tpot_ms, "ttft_ms": one.ttft_ms}
    if one.cost_per_million:
        ranges["cost_per_million_tokens"] = one.cost_per_million
    by = {energy.basis: energy for energy in one.energy}
    for basis in ("typical", "peak"):
        ranges[f"power_{basis}_w"] = by[basis].watts if basis in by else None
        ranges[f"joules_per_token_{basis}"] = by[basis].joules_per_token if basis in by else None
    for name, given_range in ranges.items():
        cells = tuple(columns[name + ending][cell] for ending in ("_low", "", "_high"))
        if given_range is None:
            assert all(map(math.isnan, cells)), name
        else:
            assert cells == (given_range.low, given_range.point, given_range.high), name
    assert columns["ceiling_tokens_per_s"][cell] == one.ceiling_tokens_per_s
    same = {"devices": one.chips, "placement": one.how, "memory_gb": one.needed_gb, "capacity_gb": one.capacity_gb}
    for name, value in {**same, "bound": one.bound, "basis": one.basis, "engine": one.engine}.items():
        assert columns[name][cell] == value, name


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_cell_is_what_predict_answers_to_the_last_digit(whole, data):
    found, columns = whole
    check(found, columns, data.draw(st.integers(0, len(found) - 1)))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"engine": "vllm"}, "engine must be one that runs on Groq_LPU_v1"),
        ({"parallel": "tp"}, "parallel must be pp or auto on WSE-3_CS-3"),
        ({"parallel": "pp"}, "parallel must be auto on Groq_LPU_v1"),
        ({"parallel": "ep"}, "parallel must be auto, tp or pp for llama-3.1-70b, which is no mixture of experts; got 'ep'"),
        ({}, "GB and cannot be split so finely that it fits 24 GB each of RTX_4090"),
    ],
)
def test_what_is_forced_holds_for_every_cell_and_what_cannot_be_says_why(more, reason):
    devices = ("h100", "wse-3", "groq", "rtx4090", "apple m1 max", "wse-1")
    found = grid(axes(devices=devices, formats=FORMATS[:1], contexts=(2048,), **more))
    columns = found.columns()
    assert any(reason in why for why in columns["refusal"])
    for cell in range(len(found)):
        check(found, columns, cell)


def test_nothing_beats_physics_and_intervals_are_in_order(whole):
    found, columns = whole
    low, point, high, most = (columns[f"{name}"][found.rows] for name in (
        "tokens_per_s_low", "tokens_per_s", "tokens_per_s_high", "ceiling_tokens_per_s"))  # fmt: skip
    assert len(found.rows) > len(found) / 2
    assert (low > 0).all()
    assert (low <= point).all()
    assert (point <= high).all()
    assert (high <= most * (1 + 1e-9)).all()
    assert (columns["memory_gb"][found.rows] <= columns["capacity_gb"][found.rows]).all()
    has = np.isin(np.arange(len(found)), found.rows)
    assert (has == (columns["refusal"] == "")).all()
    assert set(columns["basis"][has]) == {"fitted", "carried"}


def test_commas_and_globs_become_lists_only_where_a_grid_is_asked_for():
    typed = ["grid=true", "model=llama-*, gpt3-175b", "context=[1,2]", "format.kv=int8", "price=2"]
    wanted = ["grid=true", "only.model=['llama-*',gpt3-175b]", "only.context=['1','2']", "only.kv=int8", "price=2"]
    assert as_filters(typed) == wanted
    assert as_filters(["model=llama-*", "devices=2"]) == ["model=llama-*", "devices=2"]
    with pytest.raises(UsageError, match="devices is not a key of a grid"):
        as_filters(["grid=true", "devices=2"])


def test_the_same_grid_in_four_forms(tmp_path, capsys):
    asked = [
        "table",
        "grid=true",
        "model=llama-3.2-*,GPT-3",
        "device=h100,wse-3,apple-m3-10c",
        "format=bf16,int4*",
        "context=2048",
    ]
    for ending in ("csv", "json", "md", "tex"):
        assert cli.run([*asked, f"output=a.{ending}"]) == cli.OK
        assert f"rows in a.{ending}" in capsys.readouterr().out
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    records = json.loads((tmp_path / "a.json").read_text())
    assert len(rows) == len(records) == 3 * 3 * 3
    assert list(rows[0]) == list(records[0])
    for row, record in zip(rows, records, strict=True):
        assert bool(record["refusal"]) == (record["tokens_per_s"] is None)
        assert (row["model"], row["device"], row["refusal"]) == tuple(record[name] for name in ("model", "device", "refusal"))
        if not record["refusal"]:
            assert float(row["tokens_per_s"]) == record["tokens_per_s"]
            assert record["basis"] in ("fitted", "carried", "specification")
        assert all(record[name] for name in ("model_source", "device_source"))
    text, paper = (tmp_path / "a.md").read_text(), (tmp_path / "a.tex").read_text()
    assert text.count("x H100_SXM ") == 9
    assert "3 cells are refused, on Apple_M3_10c" in text
    assert paper.count("H100\\_SXM") == 9
    assert paper.count("\\begin{longtable}") == paper.count("\\end{longtable}") == 1


@pytest.mark.parametrize(("form", "sign"), [("table", " llama-3.2-1b   1x H100_SXM"), ("csv", "model,device,"), ("json", "[")])
def test_a_grid_is_printed_in_the_form_that_is_asked_for(capsys, form, sign):
    assert cli.run(["table", "grid=true", "model=llama-3.2-1b", "device=h100", "format=bf16", f"print={form}"]) == cli.OK
    assert sign in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["grid=true", "model=lama-*"], "model must match some of "),
        (["grid=true", "model=gpt-33"], "got 'gpt-33'; did you mean"),
        (["grid=true", "model=bert-base"], "an encoder, which has no decode step"),
        (["grid=true", "device=h1000"], "got 'h1000'; did you mean"),
        (["grid=true", "device=h100,here"], "got 'here', for which roofcast predict device=here model=NAME answers"),
        (["grid=true", "format=int3"], "format must be one of "),
        (["grid=true", "format.kv=int3"], "format.kv must be one of "),
        (["grid=true", "context=0"], "context must be whole numbers from 1 to 1000000000; got '0'"),
        (["grid=true", "context=2k"], "context must be whole numbers from 1 to 1000000000; got '2k'"),
        (["grid=true", "prompt=0"], "prompt must be a whole number from 1; got 0"),
        (["grid=true", "engine=good"], "engine must be one that has been fitted, or null, in a grid; got 'good'"),
        (["grid=true", "engine=vlm"], "got 'vlm'; did you mean vllm"),
        (["grid=true", "price=0"], "price must be a number above 0"),
        (["grid=true", "parallel=eq"], "parallel must be one of auto, tp, ep, pp; got 'eq'"),
        (["grid=true", "print=pdf"], "print must be one of table, md, csv, json, tex; got 'pdf'"),
        (["grid=true", "output=a.pdf"], "output must be a file ending in .md, .csv, .json or .tex; got 'a.pdf'"),
        (["grid=true", "devices=8"], "devices is not a key of a grid, which takes grid, model, device"),
        (["grid=true", "model=gpt-4", "device=rtx4090", "format=bf16"], "model must fit some machine; of 10 cells none does"),
        (["engine=vllm"], "engine needs grid=true, for measurements have none; got 'vllm'"),
    ],
)
def test_bad_input_gets_one_sentence(capsys, arguments, sentence):
    assert cli.run(["table", *arguments]) == cli.USAGE
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert sentence in line
    assert out == ""
