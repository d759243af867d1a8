"""Measurements to store, show and compare: one by hand that tests may vary, and a strategy for any that can be."""

import dataclasses
import pickle
import subprocess
import sys
import textwrap
import types
from collections.abc import Mapping
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import strategies as st
from roofcast.harness.files.columns import Columns
from roofcast.harness.host.host import Host
from roofcast.harness.store.figures import Ceilings, Compilation, Statistics, Timing, Work
from roofcast.harness.store.record import Measurement, Outcome, Run, Subject
from roofcast.harness.store.store import Store
from roofcast.kernels.gemv import Gemv

NUMBERS = st.floats(allow_nan=False)
TIMES = st.floats(min_value=1e-9, max_value=1e12)


@pytest.fixture(scope="session")
def measurement():
    """Makes a measurement that went well; parts may be replaced."""

    def make(**parts):
        workload = Gemv(n=14336, k=4096, weight_format="bf16")
        usual = {
            "started_at": "2026-01-02T03:04:05.000006+00:00",
            "run": Run(run_id="a" * 32, roofcast_version="0.1.0"),
            "subject": Subject.of(workload, "xla.dot"),
            "outcome": Outcome.judged(1e-7, workload.tolerance()),
            "work": Work.of(workload.cost()),
            "compilation": Compilation(lower_s=0.1, compile_s=0.2),
            "timing": Timing(
                timer="perf_counter",
                method="direct calls over 2 copies",
                residency="cold",
                pool_bytes=2e8,
                calls_per_sample=2,
                samples_us=(6000.0, 6100.0),
                read_probe_gbs=(20.0, 21.0),
                multiply_add_probe_gflops=(90.0, 91.0),
                calm=(True, False),
                stop_reason="time budget of 1 s spent",
            ),
            "statistics": Statistics(
                latency_us=6050.0,
                latency_low_us=6000.0,
                latency_high_us=6100.0,
                bandwidth_gbs=19.4,
                fraction_of_ceiling=0.95,
                fraction_low=0.94,
                fraction_high=0.96,
                bound="memory",
                floor_us=5750.0,
                disturbance=0.0,
                precision_reached=0.01,
            ),
            "ceilings": Ceilings(
                read_gbs=20.4,
                copy_gbs=15.0,
                triad_gbs=16.0,
                cache_read_gbs={"L1": 300.0, "L2": 150.0},
                multiply_add_gflops=100.0,
                matmul_gflops={"f32": 180.0},
                dispatch_us=8.0,
            ),
            "host": Host(cpu_model="Some CPU", architecture="x86_64", affinity=(0, 1), cache_bytes={"L2": 2**21}),
        }
        return Measurement(**(usual | parts))

    return make


@pytest.fixture(scope="session")
def measurements():
    """A strategy for every measurement that can be made."""
    return any_measurement()


@st.composite
def any_measurement(draw):
    """Any measurement: all optional parts that its status allows may be there or not."""
    status = draw(st.sampled_from(get_args(get_type_hints(Outcome)["status"])))
    has_timing = status == "ok" or (status == "refused" and draw(st.booleans()))
    length = draw(st.integers(1 if status == "ok" else 0, 4))
    lists = {
        name: st.lists(NUMBERS, min_size=length, max_size=length) for name in ("read_probe_gbs", "multiply_add_probe_gflops")
    }
    lists["core_probe_turns_per_us"] = st.just([]) | st.lists(NUMBERS, min_size=length, max_size=length)
    lists["samples_us"] = st.lists(TIMES, min_size=length, max_size=length)
    lists["calm"] = st.lists(st.booleans(), min_size=length, max_size=length)

    def part(kind, is_there):
        return draw(of(kind)) if is_there else None

    return Measurement(
        started_at=draw(st.text()),
        run=draw(of(Run)),
        subject=draw(of(Subject)),
        outcome=draw(of(Outcome, status=st.just(status), reason=st.just("") if status == "ok" else st.text(min_size=1))),
        work=draw(of(Work)),
        compilation=part(Compilation, status == "ok" or draw(st.booleans())),
        timing=draw(of(Timing, **lists)) if has_timing else None,
        statistics=draw(of(Statistics, latency_us=TIMES)) if status == "ok" else None,
        ceilings=part(Ceilings, status == "ok" or draw(st.booleans())),
        host=draw(of(Host)),
    )


def of(kind: type[Columns], **given):
    """A strategy for a part by its fields' types, but for the fields that are given."""
    hints = get_type_hints(kind)
    drawn = {one.name: values(hints[one.name]) for one in dataclasses.fields(kind) if one.init}
    return st.builds(kind, **(drawn | given))


def values(hint):
    """A strategy for what a column may hold."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is types.UnionType:
        return st.none() | values(next(one for one in arguments if one is not type(None)))
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    return {str: st.text(max_size=8), int: st.integers(-(2**63), 2**63 - 1), float: NUMBERS, bool: st.booleans()}[hint]


WRITER = """
    import dataclasses, itertools, pickle, sys
    from pathlib import Path
    from roofcast.harness.store.record import new_id
    from roofcast.harness.store.store import Store

    folder, pickled, batches, size = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    one = pickle.loads(pickled.read_bytes())
    for _ in itertools.count() if batches < 0 else range(batches):
        records = [dataclasses.replace(one, record_id=new_id()) for _ in range(size)]
        Store(folder).append(records)
        print(*(record.record_id for record in records), flush=True)
"""


@pytest.fixture
def here(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def filled(here, measurement):
    """A store with three files of two measurements."""
    for _ in range(3):
        here.append([measurement(), measurement()])
    return here


@pytest.fixture
def start_writer(tmp_path, measurement):
    """Starts a process that appends some measurements at a time, and prints their identifiers once they are kept."""
    pickled = tmp_path / "measurement.pickle"
    pickled.write_bytes(pickle.dumps(measurement()))
    started = []

    def start(folder, batches=-1, size=3, before=""):
        command = [
            sys.executable,
            "-c",
            textwrap.dedent(before) + textwrap.dedent(WRITER),
            str(folder),
            str(pickled),
            str(batches),
            str(size),
        ]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
