import dataclasses
import inspect
import json
import math
import os
import re
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roofcast.harness.files.columns import Columns, columns, flatten, unflatten
from roofcast.harness.host import host
from roofcast.harness.host.provenance import checkout, version_of
from roofcast.harness.store import figures, record
from roofcast.harness.store.record import Measurement, Outcome, Run, Subject, from_row, schema, to_row
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.model import Formats, Model, Step
from roofcast.kernels.op import Need

PARTS = sorted(
    {kind for module in (figures, host, record) for kind in vars(module).values() if isinstance(kind, type)}
    & set(Columns.__subclasses__()),
    key=lambda kind: kind.__name__,
)


@given(data=st.data())
def test_a_row_is_the_whole_measurement(data, measurements):
    one = data.draw(measurements)
    row = to_row(one)
    assert list(row) == list(schema())
    assert from_row(row) == one


@given(data=st.data())
def test_a_row_holds_only_what_columns_can_hold(data, measurements):
    plain = (str, int, float, bool, type(None))
    for value in to_row(data.draw(measurements)).values():
        inner = value if isinstance(value, list) else [*value, *value.values()] if isinstance(value, dict) else [value]
        assert all(type(item) in plain for item in inner)


@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.__name__)
def test_every_field_is_described(kind):
    attributes = inspect.cleandoc(kind.__doc__).partition("Attributes:")[2].partition("Raises:")[0]
    described = re.findall(r"^    ([\w, ]+):", attributes, re.MULTILINE)
    named = [name for group in described for name in group.split(", ")]
    assert sorted(named) == sorted(field.name for field in dataclasses.fields(kind))


def test_columns_are_plain_names_of_known_types():
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in schema())
    kinds = {"VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN"}
    assert {re.sub(r"\[\]$|^MAP\(VARCHAR, |\)$", "", kind) for kind in schema().values()} == kinds


def test_the_columns_that_sql_is_written_against_are_there():
    wanted = "record_id op label implementation status latency_us fraction_of_ceiling read_gbs samples_us host_key machine_key"
    assert set(wanted.split()) <= schema().keys()


def test_two_fields_cannot_share_a_column():
    @dataclasses.dataclass(frozen=True)
    class Inner(Columns):
        speed: float

    @dataclasses.dataclass(frozen=True)
    class Outer(Columns):
        speed: float
        inner: Inner

    with pytest.raises(TypeError, match="Outer has two fields for column speed"):
        columns(Outer)


def test_a_wrong_kernel_has_no_time(measurement):
    good = measurement()
    wrong = Outcome.judged(0.5, 1e-6)
    with pytest.raises(ValueError, match="status 'wrong' must not have statistics"):
        measurement(outcome=wrong)
    with pytest.raises(ValueError, match="status 'wrong' must not have a timing"):
        measurement(outcome=wrong, statistics=None)
    one = measurement(outcome=wrong, statistics=None, timing=None)
    assert to_row(one)["latency_us"] is None
    stored = to_row(one) | {"latency_us": 1.0}
    with pytest.raises(ValueError, match="missing"):
        from_row(stored)
    full = {name: value for name, value in to_row(good).items() if name not in ("status", "reason")}
    with pytest.raises(ValueError, match="must not have statistics"):
        from_row(full | {"status": "wrong", "reason": "far off"})


@pytest.mark.parametrize("part", ["compilation", "timing", "statistics", "ceilings"])
def test_a_measurement_that_is_ok_is_complete(measurement, part):
    with pytest.raises(ValueError, match=part):
        measurement(**{part: None})


def test_a_measurement_that_is_ok_has_samples(measurement):
    nothing = {"samples_us": (), "read_probe_gbs": (), "multiply_add_probe_gflops": (), "calm": ()}
    with pytest.raises(ValueError, match="samples_us"):
        measurement(timing=dataclasses.replace(measurement().timing, **nothing))


def test_samples_that_were_not_believed_are_kept(measurement):
    refused = Outcome(status="refused", reason="faster than memory", error=0.0, tolerance=1e-6)
    assert from_row(to_row(measurement(outcome=refused, statistics=None))).timing == measurement().timing


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("timing", "samples_us", (1.0, 0.0)),
        ("timing", "samples_us", (1.0, math.inf)),
        ("timing", "samples_us", (1.0, math.nan)),
        ("timing", "samples_us", (1.0, "2")),
        ("timing", "calm", (True,)),
        ("timing", "calm", (True, "yes")),
        ("timing", "residency", "tepid"),
        ("timing", "calls_per_sample", 1.5),
        ("statistics", "latency_us", 0.0),
        ("statistics", "latency_us", math.inf),
        ("statistics", "bandwidth_gbs", math.nan),
        ("statistics", "bound", "luck"),
        ("ceilings", "matmul_gflops", {"f32": math.nan}),
        ("ceilings", "matmul_gflops", 3.0),
        ("subject", "op", None),
        ("subject", "context", "8"),
        ("outcome", "status", "fine"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(measurement, part, field, value):
    with pytest.raises(ValueError, match=f"{field} must"):
        dataclasses.replace(getattr(measurement(), part), **{field: value})


def test_a_reason_goes_with_every_status_but_ok():
    with pytest.raises(ValueError, match="reason must be given"):
        Outcome(status="failed")
    with pytest.raises(ValueError, match="reason must be given"):
        Outcome(status="ok", reason="because")


@pytest.mark.parametrize(
    ("error", "status"), [(0.0, "ok"), (1e-3, "ok"), (1.1e-3, "wrong"), (math.inf, "wrong"), (math.nan, "wrong")]
)
def test_the_error_decides(error, status):
    outcome = Outcome.judged(error, 1e-3)
    assert outcome.status == status
    assert not math.isnan(outcome.error)


def test_arrays_and_numpy_scalars_may_be_passed(measurement):
    timing = dataclasses.replace(
        measurement().timing,
        samples_us=np.array([1.0, 2.0], np.float32),
        calm=np.array([True, False]),
        calls_per_sample=np.int64(3),
        pool_bytes=7,
    )
    assert timing.samples_us == (1.0, 2.0)
    assert timing.calm == (True, False)
    assert [type(value) for value in (timing.samples_us[0], timing.calm[0], timing.calls_per_sample)] == [float, bool, int]
    assert type(timing.pool_bytes) is float


def test_undecodable_bytes_of_the_system_are_made_readable(measurement):
    failed = Outcome(status="failed", reason="no file \udcff")
    assert failed.reason == "no file ?"


def test_a_row_of_an_earlier_schema_takes_the_defaults(measurement):
    one = measurement()
    newer = ("cost_note", "git_dirty", "peak_bytes", "environment", "machine_key")
    earlier = {name: value for name, value in to_row(one).items() if name not in newer}
    assert from_row(earlier) == one
    # A file that lacks the column reads as null beside one that has it.
    assert from_row(earlier | dict.fromkeys(newer)) == one


def test_a_column_of_a_later_schema_is_ignored(measurement):
    one = measurement()
    assert from_row(to_row(one) | {"colour": "blue"}) == one


def test_a_column_that_was_always_there_must_be(measurement):
    row = to_row(measurement())
    del row["label"]
    with pytest.raises(ValueError, match="label is missing"):
        from_row(row)


def test_a_field_that_is_computed_is_computed_again(measurement):
    one = measurement()
    assert from_row(to_row(one) | {"host_key": "old rules"}).host.key == one.host.key


def test_a_subject_says_where_the_call_stands_in_a_step():
    model = Model("tiny", "decoder", layers=2, d_model=8, heads=2, kv_heads=1, head_dim=4, d_ff=16, vocab=32, max_context=64)
    workload = Gemv(n=8, k=8, weight_format="f32")
    step = Step(model, context=7, formats=Formats(weight="f32", kv="bf16"))
    subject = Subject.of(
        workload, "xla.dot", step, [Need("qkv", workload, 2), Need("out", workload, 3), Need("qkv", workload, 1)]
    )
    assert (subject.role, subject.count_per_token) == ("qkv+out", 6)
    assert (subject.model, subject.context) == ("tiny", 7)
    assert (subject.weight_format, subject.kv_format, subject.activation_format) == ("f32", "bf16", "f32")
    assert json.loads(subject.axes) == workload.axes()
    assert subject.workload == workload


def test_a_run_knows_its_code():
    run = Run.start(config_hash="abc", overrides="model=x")
    assert run.roofcast_version == version_of("roofcast") != ""
    assert (run.config_hash, run.overrides) == ("abc", "model=x")
    assert Run.start().run_id != run.run_id
    assert version_of("no-such-distribution") == ""


def test_a_checkout_is_known_by_its_commit_and_changes(tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        command = ["git", *identity, "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert checkout(package).commit == ""
    git("init")
    assert checkout(package).commit == ""
    git("add", ".")
    git("commit", "-m", "first")
    assert checkout(package).commit == git("rev-parse", "HEAD")
    assert not checkout(package).dirty
    (package / "notes").write_text("untracked files do not change the code")
    assert not checkout(package).dirty
    (package / "__init__.py").write_text("changed = True")
    assert checkout(package).dirty
    environment = tmp_path / "environment" / "package"
    environment.mkdir(parents=True)
    (environment / "__init__.py").write_text("")
    assert checkout(environment).commit == ""


def test_a_measurement_needs_no_parts_but_the_first(measurement):
    one = measurement(
        outcome=Outcome(status="unsupported", reason="no"), compilation=None, timing=None, statistics=None, ceilings=None
    )
    assert unflatten(Measurement, flatten(one)) == one
    assert from_row(to_row(one)).ceilings is None
