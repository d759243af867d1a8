"""A stranger's file is data: whatever it holds, it ends in an answer or a sentence, writes nothing and tells nothing."""

import copy
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from roofcast.harness import cli
from roofcast.harness.config.own_files import entry
from roofcast.harness.config.registration import register
from roofcast.harness.errors import UsageError
from roofcast.harness.facts import catalogue

EXAMPLES = int(os.environ.get("ROOFCAST_EXAMPLES", "60"))
SECRET = "value-of-the-environment"
CHIP: dict[str, Any] = dict(catalogue.facts("device", "RTX_4090"))
MODEL: dict[str, Any] = dict(catalogue.facts("model", "mixtral-8x7b"))
LLAMA4 = {
    "architectures": ["Llama4ForCausalLM"],
    "hidden_size": 512,
    "intermediate_size": 1024,
    "intermediate_size_mlp": 2048,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "num_local_experts": 16,
    "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 2,
    "attention_chunk_size": 8192,
    "max_position_embeddings": 65536,
    "vocab_size": 1000,
    "layer_types": ["chunked_attention", "chunked_attention", "chunked_attention", "full_attention"] * 2,
    "moe_layers": [1, 3, 5, 7],
    "no_rope_layers": [1, 1, 1, 0] * 2,
}
QWEN = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "hidden_size": 512,
    "intermediate_size": 1024,
    "moe_intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_experts": 16,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 4,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
    "use_sliding_window": True,
    "sliding_window": 512,
    "max_window_layers": 0,
    "mlp_only_layers": [],
}
ZOO = {
    "trainer": {
        "init": {
            "model": {"name": "mixtral", "hidden_size": 512, "vocab_size": 1000, "num_hidden_layers": 4, "num_heads": 8}
            | {"attention_module": "multiquery_attention", "extra_attention_params": {"num_kv_groups": 2}, "filter_size": 1024}
            | {"nonlinearity": "swiglu", "norm_type": "rmsnorm", "position_embedding_type": "rotary"}
            | {"moe": {"num_experts": 8, "top_k": 2}, "attention_logit_softcapping": 30.0}
        }
    }
}
OURS = {"chip.yaml": CHIP, "chip.json": CHIP, "model.yaml": MODEL, "model.json": MODEL}
THEIRS = {"zoo.yaml": ZOO, "llama4/config.json": LLAMA4, "qwen/config.json": QWEN}

TEXTS = ("${oc.env:ROOFCAST_SECRET}", "${results}", "\\${x}", "???", "here", "\ud800", "\x1b[31m", "=1+1", "a" * 5000, "")
NUMBERS = (None, True, False, 0, -1, 1, 2, 3, 7, 10**9, 10**18, 10**30, 1e-300, 1e300, float("nan"), float("inf"), 0.5)
TREES = ([], {}, [1] * 4, ["full_attention"], [["x"]], {"_target_": "os.system"}, {"value": 1}, "full_attention", "2026-11")
HOSTILE = st.one_of(
    *(st.sampled_from(TEXTS), st.sampled_from(NUMBERS), st.sampled_from(TREES)),
    *(st.integers(-2, 5000), st.floats(), st.text(max_size=6)),
).map(copy.deepcopy)
NAMES = st.sampled_from(
    [
        "defaults",
        "_target_",
        "name",
        "${oc.env:ROOFCAST_SECRET}",
        "layer_types",
        "window",
        "mixture",
        "aliases",
        "x",
        "note",
        "hydra",
    ]
) | st.text(max_size=5)


def places(node: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a tree, each as the keys that lead to it."""
    yield way
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, one in inner:
        yield from places(one, (*way, key))


@st.composite
def changed(draw: st.DrawFn, tree: dict[str, Any]) -> dict[str, Any]:
    """The tree with up to three values, names or both made something else."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        if not tree:
            break
        *way, last = draw(st.sampled_from([place for place in places(tree) if place]))
        parent: Any = tree
        for key in way:
            parent = parent[key]
        how = draw(st.sampled_from(["value", "value", "name", "less", "more"]))
        if how == "value":
            parent[last] = draw(HOSTILE)
        elif isinstance(parent, list):
            parent.pop(last)
        elif how == "more":
            parent[draw(NAMES)] = draw(HOSTILE)
        else:
            was = parent.pop(last)
            if how == "name":
                parent[draw(st.sampled_from([f"{last}s", f"{last}"[1:], f"{last}".upper()]) | NAMES)] = was
    return tree


@st.composite
def files(draw: st.DrawFn, bases: dict[str, dict[str, Any]]) -> tuple[str, str]:
    name = draw(st.sampled_from(sorted(bases)))
    tree = draw(changed(bases[name]))
    return name, json.dumps(tree) if name.endswith(".json") else yaml.dump(tree, allow_unicode=False)


WORDS = st.text("ab1.,=+()[]{}~@#: ü$/*?%'\"-", min_size=1, max_size=8).filter(lambda word: "${" not in word)
KEYS = ("model", "device", "format", "engine", "parallel", "model.name", "x", "+x")
MORE = st.lists(
    st.one_of(
        st.builds("{}={}".format, st.sampled_from(KEYS), WORDS),
        st.builds("{}={}".format, st.sampled_from(["devices", "context", "prompt", "price"]), st.integers(-1, 10**16) | WORDS),
        st.sampled_from(["-m", "imported=false"]),
    ),
    max_size=2,
)


OUTPUTS = st.sampled_from(["o.csv", "a=b,c.json", "ü(1).md"])
HALF = settings(max_examples=EXAMPLES // 2, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", list(sys.argv))
        patch.setenv("ROOFCAST_SECRET", SECRET)
        patch.setenv("HYDRA_FULL_ERROR", "0")
        yield


def check(file: tuple[str, str], more: list[str], output: str, *codes: int) -> None:
    """Asks about a file in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        here = Path(folder)
        name, content = file
        path = here / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
        asked = [f"device={name}", "model=gpt2"] if name.startswith("chip") else [f"model={name}", "device=h100"]
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = cli.run(["predict", *asked, f"output={output}", "results=kept", *more])
        said = err.getvalue()
        assert code in (codes or (cli.OK, cli.USAGE)), said
        assert "Traceback" not in said
        if code == cli.USAGE and "-m" not in more:
            assert said.startswith("roofcast: "), said
            assert len(said.splitlines()) == 1, said
            assert len(said) < 5000
        files = [one for one in here.rglob("*") if one.is_file()]
        written = {one.relative_to(here).parts[0] for one in files} - {name.partition("/")[0]}
        assert written <= {*(output.split(",") if "-m" in more else [output]), "kept"}
        assert not any(SECRET in text for text in (out.getvalue(), said, *(one.read_text(errors="replace") for one in files)))


@HALF
@given(files(OURS), MORE, OUTPUTS)
@example(("chip.yaml", "defaults: [{/model@_global_.hydra.callbacks.x: model}, _self_]"), [], "o.csv")
@example(("model.yaml", "_target_: builtins.dict\nx: {_target_: pathlib.Path.touch, self: WRITTEN}"), ["-m"], "o.csv")
@example(("chip.yaml", yaml.dump(CHIP | {"note": "${oc.env:ROOFCAST_SECRET}"})), [], "o.csv")
def test_whatever_a_file_of_our_form_holds(file: tuple[str, str], more: list[str], output: str) -> None:
    check(file, more, output)


@HALF
@given(files(THEIRS), MORE, OUTPUTS)
@example(("llama4/config.json", json.dumps(LLAMA4 | {"num_hidden_layers": "${oc.env:ROOFCAST_SECRET}"})), [], "o.csv")
def test_whatever_a_file_of_theirs_holds(file: tuple[str, str], more: list[str], output: str) -> None:
    check(file, more, output)


def test_the_files_that_are_changed_are_taken_as_they_are() -> None:
    for name, tree in (OURS | THEIRS).items():
        check((name, json.dumps(tree) if name.endswith(".json") else yaml.dump(tree)), [], "o.csv", cli.OK)


@pytest.mark.parametrize(
    ("name", "tree", "sentence"),
    [
        ("model.json", MODEL | {"name": "a" * 201}, "model name must be a text of 1 to 200 characters; got 'aaa"),
        ("model.yaml", MODEL | {"name": ""}, "model name must be a text of 1 to 200 characters; got ''"),
        ("model.yaml", MODEL | {"layres": 3}, "model.layres is not a field; did you mean layers?"),
        ("chip.json", CHIP | {"name": 5}, "device name must be a text of 1 to 200 characters; got 5"),
        ("chip.yaml", CHIP | {"name": "here"}, "name must not be here"),
        ("chip.yaml", {"architectures": ["x"]}, "there is no field 'architectures'"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(name: str, tree: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(tree))
    with pytest.raises(UsageError) as raised:
        entry(name.partition(".")[0].replace("chip", "device"), path)
    assert sentence in str(raised.value)
    assert str(raised.value).endswith(f"; in '{path}'")


def test_a_file_keeps_its_name_apart_from_words_of_the_grammar(tmp_path: Path) -> None:
    register(["predict"])
    for stem, found in (
        ("null", "null-file"),
        ("true", "true-file"),
        ("007", "file-007"),
        ("here", "here-file"),
        ("a+b", "a-b"),
    ):
        path = tmp_path / f"{stem}.yaml"
        path.write_text(yaml.dump(CHIP))
        assert entry("device", path) == found
