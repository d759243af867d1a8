"""Whatever stands on the command line ends in a result or in one sentence. Nothing is measured: the clock is a fake."""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from roofcast.harness import cli
from roofcast.harness.config.registration import measured_ops
from roofcast.harness.facts import catalogue
from roofcast.harness.measure.cache_levels import MEMORY, Levels
from roofcast.harness.measure.caches import Caches
from roofcast.harness.measure.ceilings import Limits
from roofcast.harness.measure.compiled import Compiled
from roofcast.harness.measure.prepare import Kernel
from roofcast.harness.measure.probes import Probe
from roofcast.harness.measure.result import Result, Timed
from roofcast.harness.measure.rounds import Series
from roofcast.harness.measure.statistics import Interval
from roofcast.harness.store.figures import Ceilings
from roofcast.harness.store.store import Store
from roofcast.harness.sweep import bench, job, worker
from roofcast.kernels.formats import format_names

EXAMPLES = int(os.environ.get("ROOFCAST_EXAMPLES", "60"))
SPEEDS = Ceilings(
    read_gbs=20.0,
    copy_gbs=15.0,
    triad_gbs=16.0,
    cache_read_gbs={},
    multiply_add_gflops=100.0,
    matmul_gflops={},
    dispatch_us=8.0,
)

NUMBERS = st.one_of(
    st.integers(-3, 300),
    st.integers(-(10**19), 10**19),
    st.floats(),
    st.sampled_from(
        ["null", "true", "many", "''", "nan", "inf", "1e400", "[1,2]", "{a:1}", "[]", "???", "${seed}", "${nothing}"]
    ),
).map(str)
WORDS = st.one_of(
    st.sampled_from(["null", "default", "none", "all", "'a b'", "3", "xla.dot", "numpy", "../x", "${seed}", "[a]", "{}"]),
    st.text("abz019_.-/=,'\"[]{}$:~+@ \\é\n\0", max_size=6),
)
FIELDS = (
    "layers",
    "d_model",
    "heads",
    "kv_heads",
    "head_dim",
    "d_ff",
    "vocab",
    "name",
    "gated",
    "norm",
    "window",
    "mixture",
    "x",
)
OVERRIDES = st.one_of(
    st.builds("model={}".format, st.sampled_from(catalogue.names("model")) | WORDS),
    st.builds("model.{}={}".format, st.sampled_from(FIELDS), NUMBERS | WORDS),
    st.builds("context={}".format, st.integers(1, 4096) | NUMBERS),
    st.builds("format={}".format, st.sampled_from(format_names("weight")) | WORDS),
    st.builds(
        "format.{}={}".format,
        st.sampled_from(["weight", "kv", "activation", "x"]),
        st.sampled_from(format_names("weight")) | WORDS,
    ),
    st.builds("kernel={}".format, st.sampled_from([*measured_ops(), "all", "step"]) | WORDS),
    st.builds("kernel.ops={}".format, st.sampled_from(["[gemv]", "[gemv,norm]", "[stream]", "[]", "[x]", "gemv"]) | NUMBERS),
    st.builds("timing={}".format, st.sampled_from(["quick", "default", "thorough"]) | WORDS),
    st.builds(
        "timing.{}={}".format,
        st.sampled_from(["precision", "budget_s", "min_samples", "max_samples", "residency", "x"]),
        NUMBERS | WORDS,
    ),
    st.builds("device={}".format, st.sampled_from(catalogue.names("device")) | WORDS),
    st.builds("targets={}".format, st.sampled_from(["[]", "[h100]", "[8xh100,b200]", "[0xh100]", "h100", "[3]"]) | NUMBERS),
    st.builds(
        "{}={}".format,
        st.sampled_from(
            ["sampling", "implementation", "peers", "weights", "output", "experiment", "isolation", "xla_flags", "environment"]
        ),
        st.sampled_from(["process", "{A:1}", "top_k", "t.csv", "gpt3-layers"]) | WORDS | NUMBERS,
    ),
    st.builds(
        "{}={}".format,
        st.sampled_from(
            ["devices", "seed", "fused", "force", "timeout", "compile_cache", "", "+new", "~seed", "seed.x", "hydra.x"]
        ),
        NUMBERS | WORDS,
    ),
    WORDS,
)


def ok(workload, one) -> Result:
    series = Series([1e-3, 1e-3], [[20.0, 100.0]] * 2, [[20.0, 100.0]] * 2, "sample limit reached")
    kernel = Kernel(workload, one, None, "direct calls", "cold", 1.0, 1, lambda: 1e-3)
    span = Interval(1e3, 1e3, 1e3)
    timed = Timed(span, Interval(0.5, 0.4, 0.6), 1.0, "memory", np.ones(2, bool), 0.0, level=MEMORY)
    return Result(
        workload, one.name, "ok", "", 0.0, Compiled(None, 0.1, 0.1, "cold"), kernel=kernel, series=series, timed=timed
    )


def fake_session(calls, machine, stopping, **_) -> Iterator[Result]:
    for place, (workload, one) in enumerate(calls):
        yield Result(workload, one.name, "failed", "ValueError: no") if place % 7 == 6 else ok(workload, one)


class InProcess:
    """The worker's answers without its process."""

    def __init__(self, environment) -> None:
        assert all(isinstance(part, str) for item in environment.items() for part in item)

    def measure(self, config, overrides, limit_s, doing, sweep):
        said = []
        worker.measure(OmegaConf.create(config), overrides, lambda **answer: said.append(answer), sweep)
        assert "failed" not in said[-1], said[-1]
        return said[-1]

    def close(self) -> None:
        pass


@pytest.fixture(scope="module", autouse=True)
def no_clock():
    silent = Probe("none", lambda: 1.0)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(
            bench, "measure_limits", lambda *_, **__: Limits(SPEEDS, Levels((), 20.0, 0.0), Caches.rotated(0), silent, silent)
        )
        patch.setattr(bench.session, "run", fake_session)
        patch.setattr(bench, "keep_programs_in", lambda folder: None)
        patch.setattr(bench.Run, "start", lambda **given: bench.Run(roofcast_version="0", **given))
        patch.setattr(job, "Process", InProcess)
        patch.setattr("sys.argv", ["roofcast"])
        patch.setenv("HYDRA_FULL_ERROR", "0")
        patch.chdir(folder)
        yield


# A failure of a long run is told as it was found: making it small would take minutes more.
@settings(
    max_examples=EXAMPLES, phases=[Phase.explicit, Phase.reuse, Phase.generate], suppress_health_check=[HealthCheck.too_slow]
)
@given(st.lists(OVERRIDES, max_size=4))
@example(["environment=???"])
@example(["targets=${nothing}", "targets=[]"])
def test_any_overrides_end_in_a_result_or_in_one_sentence(overrides: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.run(["bench", *overrides, f"results={folder}/results"])
        said = err.getvalue()
        assert "Traceback" not in said
        if code == cli.USAGE:
            assert out.getvalue() == ""
            assert said.startswith("roofcast: ")
            assert len(said.splitlines()) == 1, said
            assert not list(Path(folder).glob("results/*.parquet"))
        else:
            report = Store(Path(folder) / "results").read()
            assert report.complaint == ""
            assert report.found
            wrong = [one for one in report.found if one.outcome.status in ("wrong", "refused", "failed")]
            assert code == (cli.FAILED if wrong else cli.OK)


def test_a_record_has_references_as_they_were_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFCAST_SECRET", str(tmp_path / "kept"))
    assert cli.run(["bench", "model=gpt2", "kernel=gemv", "results=${oc.env:ROOFCAST_SECRET}"]) in (cli.OK, cli.FAILED)
    found = Store(tmp_path / "kept").read().found
    assert {one.run.overrides for one in found} == {"model=gpt2 kernel=gemv 'results=${oc.env:ROOFCAST_SECRET}'"}
