"""The command line: one grammar, any spelling, and one sentence for whatever is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from roofcast.harness import cli
from roofcast.harness.cli import jobs
from roofcast.harness.config.overrides import prepared
from roofcast.harness.errors import UsageError

CHIP = """
note: {note}
kind: gpu
weights_in: gddr
memories:
  gddr:
    capacity_gb: {{value: 20, basis: datasheet, source: product page, date: 2026-11}}
    bandwidth_gbs: {{value: 800, basis: datasheet, source: product page, date: 2026-11}}
peak_tflops: {{f16: {{value: 103, dense: true, basis: datasheet, source: product page, date: 2026-11}}}}
"""


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence that a bad command line gets."""
    assert cli.run(arguments) == cli.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("roofcast: ")
    return line.removeprefix("roofcast: ")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "model=lama-3.1-8b",
            "model must be a file in conf/model or one of their aliases; got 'lama-3.1-8b'; did you mean llama-3.1-8b",
        ),
        ("model=null", "model must be a file in conf/model"),
        (
            "model=no/such/config.json",
            "that holds a mapping of fields; got 'no/such/config.json': No such file",
        ),
        ("model.layers=many", "model.layers must be an integer from 1 to 10000; got 'many'"),
        ("model.heads=7", "model.kv_heads must divide heads, which is 7; got 8"),
        ("context=-1", "context must be a whole number from 1; got -1"),
        ("context=0", "context must be a whole number from 1; got 0"),
        ("context=long", "context must be of type Integer; got 'long'"),
        ("context=null", "context must have a value; got null"),
        ("contxt=3", "contxt is not a key of roofcast bench; did you mean context?"),
        ("format.wieght=f32", "format.wieght is not a key of roofcast bench; did you mean format.weight?"),
        ("timing.precison=0.1", "timing.precison is not a key of roofcast bench; did you mean timing.precision?"),
        ("+surprise=1", "surprise is not a key of roofcast bench; known: model"),
        ("format=int3", "format must be one of bf16, f16, f32, fp8, fp8_block, int4, int4_g128, int8, mxfp4"),
        ("format.weight=i32", "format.weight must be one of bf16, f16, f32, fp8, fp8_block, int4, int4_g128, int8, mxfp4"),
        ("format.kv=int4", "format.kv must be one of bf16, f16, f32, fp8, int8; got 'int4'"),
        ("format.activation=int8", "format.activation must be one of bf16, f16, f32; got 'int8'"),
        ("kernel=gemm", "kernel must be one of activation, all, attention, cache"),
        ("timing=slow", "timing must be one of default, quick, thorough; got 'slow'"),
        ("timing.precision=0", "timing.precision must be a number above 0; got 0"),
        ("timing.budget_s=-3", "timing.budget_s must be a number above 0; got -3"),
        ("timing.min_samples=1", "timing.min_samples must be a whole number from 2; got 1"),
        ("seed=-1", "seed must be a whole number from 0; got -1"),
        ("timing.residency=tepid", "timing.residency must be one of cold, warm; got 'tepid'"),
        ("device=h1000", "device must be a file in conf/device or one of their aliases; got 'h1000'; did you mean H100"),
        ("targets=[9xh1000]", "device must be a file in conf/device or one of their aliases; got 'h1000'"),
        ("targets=[0xh100]", "device count must be a whole number from 1"),
        ("sampling=beam", "sampling must be one of greedy, top_k, top_p; got 'beam'"),
        ("output=report.pdf", "output must be a file ending in .md or .csv; got 'report.pdf'"),
        ("results=/dev/null/results", "results must be"),
        ("model=llama-3.2-1b,qwen3-0.6b", "model must be one value, or a sweep over llama-3.2-1b,qwen3-0.6b with -m"),
        ("context", "overrides must have the form key=value; got 'context'"),
        ("context=(", "overrides must have the form key=value, with other signs than letters and digits in quotes: "),
        ("sampling='", 'key="\'a (b)\'"; got "sampling=\'"'),
        ("context={b", "got 'context={b'"),
        ("context=${nothing}", "a reference must be to a key that there is; got ${nothing}"),
        ("context=100000000000000000000", "context must be a whole number of at most 1e+15; got 100000000000000000000"),
        ("~seed", "seed must have a value; ~seed took it away"),
        ("-a", "options must be those of Hydra, such as -m, --help or --cfg job; got unrecognized arguments: -a"),
        ("xla_flags=--xla_x=1", "isolation must be process where xla_flags is given"),
        ("environment=3", "environment must be null or variables such as {OMP_NUM_THREADS:1}; got 3"),
        ("isolation=thread", "isolation must be one of none, process; got 'thread'"),
        ("timeout=0", "timeout must be null or a number of seconds above 0; got 0"),
    ],
)
def test_bad_input_to_bench_is_one_sentence_and_measures_nothing(
    override: str, sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert sentence in complaint(capsys, "bench", override)
    assert list(tmp_path.iterdir()) == []


def test_a_device_file_without_its_bandwidth_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "chip.yaml").write_text("name: chip\nkind: gpu\nweights_in: hbm\nmemories:\n  hbm: {}\n")
    said = complaint(capsys, "table", "device=chip.yaml")
    assert "device chip: memories.hbm: bandwidth_gbs must be given" in said


@pytest.mark.parametrize("text", ["", "- a list", "a: [", "\x00"])
def test_a_file_that_is_no_mapping_is_one_sentence(text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "chip.yaml").write_text(text)
    assert "device" in complaint(capsys, "table", "device=chip.yaml")


def test_an_unknown_verb_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    known = "bench, table, predict, claims, report, validate, import, gate, history, doctor"
    assert complaint(capsys, "bnech").startswith(f"the first word must be one of {known}; got 'bnech'")


def test_an_empty_store_says_what_to_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    assert "run roofcast bench first" in complaint(capsys, "table")


def test_models_and_devices_are_found_in_any_spelling() -> None:
    assert prepared(["model=GPT-3-175B,Llama 3.1 8B", "device=h100", "context=3"]) == [
        "model=gpt3-175b,llama-3.1-8b",
        "device=H100_SXM",
        "context=3",
    ]
    assert prepared(["model=glob(qwen*)", "device=null"]) == ["model=glob(qwen*)", "device=null"]


def test_a_hugging_face_configuration_is_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "some.model"
    folder.mkdir()
    config = {"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4}
    config |= {"num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 100, "max_position_embeddings": 256}
    (folder / "config.json").write_text(json.dumps(config))
    assert prepared([f"model={folder}/config.json"]) == ["model=some-model-config"]
    (folder / "config.json").write_text(json.dumps({"architectures": ["NoSuchModel"]}))
    with pytest.raises(UsageError, match="NoSuchModel"):
        prepared([f"model={folder}/config.json"])


def test_a_file_is_not_taken_for_another_one_of_its_name(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "twin.yaml").write_text(CHIP.format(note=folder))
    (tmp_path / "H100_SXM.yaml").write_text(CHIP.format(note="mine"))
    assert prepared(["device=H100_SXM.yaml"]) == ["device=H100_SXM-file"]
    assert prepared(["device=a/twin.yaml,b/twin.yaml"]) == prepared(["device=a/twin.yaml,b/twin.yaml"])
    assert prepared(["device=a/twin.yaml,b/twin.yaml"]) == ["device=twin,twin-file"]


@pytest.mark.parametrize(
    "arguments", ["predict model=gpt-4 device=h100 devices=64", "predict -m device=h100,b200", "claims", "bench --help"]
)
def test_a_reader_that_goes_away_ends_it_without_a_word(arguments: str) -> None:
    command = [sys.executable, "-m", "roofcast.harness", *arguments.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == cli.OK


def test_whoever_interrupts_is_told_what_was_kept(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "run", interrupted)
    for verb in ("bench", "predict", "validate", "claims", "table"):
        assert cli.run([verb]) == cli.INTERRUPTED
        said = capsys.readouterr().err
        assert said.startswith("roofcast: stopped")
        assert ("what was finished is in the store" in said) is (verb == "bench")


@pytest.mark.parametrize("arguments", ["predict -m device=h100,b200 output=x.md", "validate -m seed=0,1 rows=x.csv"])
def test_a_sweep_does_not_write_one_file_over_and_over(capsys, arguments: str, tmp_path: Path) -> None:
    assert "must name another file for every job of a sweep" in complaint(capsys, *arguments.split())
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_may_be_asked_for_anywhere() -> None:
    assert prepared(["device=h100", "-m", "context=512,1024"]) == ["-m", "device=H100_SXM", "context=512,1024"]


def test_a_sweep_may_write_a_file_per_job(tmp_path: Path) -> None:
    assert cli.run(["predict", "-m", "device=h100", "context=512,1024", "output=${context}.json"]) == cli.OK
    assert {json.loads(path.read_text())[0]["context"] for path in tmp_path.glob("*.json")} == {512, 1024}


def test_help_lists_groups_examples_and_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == cli.OK
    said = capsys.readouterr().out
    assert all(f"roofcast {verb.replace('_', ' ')} " in said for verb in cli.VERBS)
    done = subprocess.run(
        [sys.executable, "-m", "roofcast.harness", "bench", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    for word in ("model: ", "kernel: ", "device: ", "timing: ", "format: ", "experiment: ", "gpt3-175b", "budget_s", "-m "):
        assert word in done.stdout


def test_a_sweep_goes_on_after_a_configuration_that_cannot_be(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    assert cli.run(["table", "-m", "context=-1,512"]) == cli.USAGE
    said = capsys.readouterr().err.splitlines()
    assert "got -1" in said[0]
    assert "at context 512" in said[1]
