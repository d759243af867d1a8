"""What a user waits for besides kernels, as a suite of pytest-benchmark: `make gate` holds two revisions of it side by side.

`make test` runs each once. Nothing here asserts a time.
"""

import contextlib
import io
import subprocess
import sys

from roofcast.harness import cli
from roofcast.harness.gate.worker import Worker
from roofcast.harness.host import linux
from roofcast.harness.measure import prepare

FORMATS = {"weight": "bf16", "kv": "bf16", "activation": "f32"}
PLAN = {"format": FORMATS, "context": 64, "sampling": "greedy", "fused": False, "device": None, "devices": 1, "targets": []}
SMALL = {"L1": 2**15, "L2": 2**18, "L3": 2**20}
"""Bytes of caches that are quickly exceeded."""


def silently(*words):
    """A verb, run in this process."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert cli.run(list(words)) == 0


def test_sample_of_next_to_nothing(benchmark, monkeypatch):
    """One call of the smallest kernel: what is left is what the harness adds to a sample."""
    monkeypatch.setattr(prepare, "SAMPLE_S", 0.0)
    model = {"name": "tiny", "family": "decoder", "layers": 1, "d_model": 32, "heads": 2, "kv_heads": 2, "head_dim": 16}
    model |= {"d_ff": 64, "vocab": 64, "max_context": 64, "position": "rope"}
    question = {"plan": {"model": model, **PLAN}, "ops": ["rope"], "layers": None, "implementation": "default"}
    worker = Worker()
    (name,) = worker.open({**question, "residency": "warm", "seed": 0, "free_bytes": 1e9})["kernels"]
    ready = worker.prepare(name, dispatch_us=0.0)
    assert (ready["status"], ready["is_direct"], ready["calls"]) == ("ok", True, 1), ready
    benchmark(worker.sample, name)


def test_predict(benchmark):
    benchmark(silently, "predict", "model=llama-3.1-8b", "device=H100_SXM")


def test_import(benchmark):
    """A process of all that the command line and `predict` import."""
    benchmark(subprocess.run, (sys.executable, "-c", "import roofcast.harness.cli, roofcast.harness.verbs.predict"), check=True)


def test_first_record(benchmark, monkeypatch, tmp_path):
    """The ceilings and one kernel, as a new folder of results begins with."""
    monkeypatch.setattr(linux, "caches", lambda *_: SMALL)
    least = ("timing=quick", "timing.min_samples=2", "timing.max_samples=2", "timing.budget_s=0.1", "compile_cache=false")
    folders = (f"results={tmp_path / str(number)}" for number in range(10**6))
    benchmark.pedantic(
        silently, setup=lambda: (("bench", "model=gpt2", "context=64", "kernel=norm", *least, next(folders)), {})
    )
