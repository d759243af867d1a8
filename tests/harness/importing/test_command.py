"""`roofcast import`: what is kept, how it is shown, and what is said of bad input."""

import csv
import json
from pathlib import Path

import pytest
from roofcast.harness import cli
from roofcast.harness.importing import shelf

HERE = Path(__file__).parent
LLAMA, LATENCY = (json.loads((HERE / f"{name}.json").read_text()) for name in ("llama_bench", "vllm_latency"))


def test_what_is_imported_twice_counts_once(tmp_path, capsys):
    Path("a.json").write_text(json.dumps([LLAMA]))
    Path("b.jsonl").write_text(json.dumps(LLAMA) + "\n" + json.dumps(LLAMA | {"avg_ts": 60.0}) + "\n")
    for files in (["a.json"], ["a.json"], ["b.jsonl", "a.json"]):
        assert cli.run(["import", *files]) == cli.OK
    assert [found.tok_s for found in shelf.rows(Path("results"))] == [60.0, pytest.approx(118.882)]
    kept = sorted(Path("results/imported").iterdir())
    assert len(kept) == 2
    with kept[0].open(newline="") as file:
        (origin, *_) = csv.DictReader(file)
    assert origin["source"] in ("a.json", "b.jsonl")
    assert origin["source_sha256"].startswith(kept[0].stem)
    assert "2 kept in results/imported" in capsys.readouterr().out


def test_what_is_imported_is_validated_and_shown_beside_predictions(capsys):
    Path("a.json").write_text(json.dumps([LLAMA, LLAMA | {"n_gen": 0, "n_prompt": 9}, LLAMA | {"avg_ts": -1}]))
    assert cli.run(["import", "a.json"]) == cli.FAILED
    said = capsys.readouterr().out
    assert "entry 2: left out: n_gen is 0" in said
    assert "entry 3: avg_ts must be a number from 0; got -1" in said
    assert "1 kept" in said
    assert cli.run(["validate", "published=imported"]) == cli.OK
    assert "predictions: 1 new machine" in capsys.readouterr().out
    asked = ["predict", "model=qwen2.5-7b", "device=4080", "engine=llama.cpp", "format=int4"]
    assert cli.run([*asked, "output=with.json"]) == cli.OK
    assert "for that, published speeds alone give" in capsys.readouterr().out
    assert cli.run([*asked, "imported=false", "output=without.json"]) == cli.OK
    (with_it,), (without,) = (json.loads(Path(name).read_text()) for name in ("with.json", "without.json"))
    assert (with_it["basis"], without["basis"]) == ("fitted", "carried")
    assert with_it["tokens_per_s"] > without["tokens_per_s"]
    assert "237 published speeds and 1 imported" in " ".join(with_it["notes"])


def test_keys_fill_what_a_file_does_not_say(capsys):
    Path("latency.json").write_text(json.dumps(LATENCY))
    keys = ["model=Llama 3.1 8B", "device=h100", "devices=1", "format=fp8", "input_len=32", "output_len=128", "date=2026-05"]
    assert cli.run(["import", "latency.json", *keys]) == cli.OK
    (found,) = shelf.rows(Path("results"))
    assert (found.model, found.hardware, found.n_chips, found.source_date) == ("llama-3.1-8b", "H100_SXM", "1", "2026-05")
    assert 8 <= float(found.weight_bits) < 8.1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "files must name at least one file, as in roofcast import FILE; got none"),
        (["nowhere.json"], "files must be readable text; got 'nowhere.json'"),
        (["binary"], "files must be readable text; got 'binary'"),
        (["a.json", "devices=0"], "devices must be a whole number from 1; got 0"),
        (["a.json", "weight_bits=0.1"], "weight_bits must be from 1 to 64; got 0.1"),
        (["a.json", "date=today"], "date must be a year, month or day"),
        (["a.json", "modle=x"], "modle is not a key of roofcast import; did you mean model?"),
        (["a.json", "device=h1000"], "got 'h1000'; did you mean H100"),
        (["a.json", "results=a.json"], "results must be a folder that can be written to; got 'a.json'"),
    ],
)
def test_bad_input_gets_one_sentence(capsys, arguments, sentence):
    Path("a.json").write_text(json.dumps([LLAMA]))
    Path("binary").write_bytes(b"\xff\xfe\x00")
    assert cli.run(["import", *arguments]) == cli.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


def test_an_imported_file_that_was_spoilt_is_named():
    folder = Path("results/imported")
    folder.mkdir(parents=True)
    (folder / "x.csv").write_text("hardware,model,tok_s\nH100,llama-3.1-8b,many\n")
    assert cli.run(["validate", "published=imported"]) == cli.USAGE
