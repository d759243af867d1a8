import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from roofcast.harness.errors import UsageError
from roofcast.harness.facts.envelope import FORMAT_BITS, Envelope, Memory, Quantity


def figure(value: float, **rest) -> Quantity:
    return Quantity(value, source="a datasheet", date="2026-11", basis="datasheet", **rest)


def machine(bandwidth_gbs: float = 3000, **rest) -> Envelope:
    given = {
        "name": "Test-1",
        "kind": "gpu",
        "memories": (Memory("hbm", figure(bandwidth_gbs), figure(80)),),
        "weights_in": "hbm",
        "peak_tflops": {"f32": figure(60), "bf16": figure(900), "fp8": figure(1800)},
    }
    return Envelope(**given | rest)


amounts = st.floats(0, 1e15)
positive = st.floats(1e-3, 1e9)
formats = st.sampled_from(sorted(FORMAT_BITS))
peaks = st.dictionaries(formats, positive.map(figure), max_size=4)


@given(amounts, amounts, amounts, formats, positive, peaks)
def test_floor_grows_with_bytes_and_flops(bytes, flops, more, format, bandwidth_gbs, peak_tflops):
    envelope = machine(bandwidth_gbs, peak_tflops=peak_tflops)
    floor = envelope.floor_us(bytes, flops, format)
    assert envelope.floor_us(bytes + more, flops, format) >= floor
    assert envelope.floor_us(bytes, flops + more, format) >= floor


@given(amounts, amounts, formats, positive, positive)
def test_a_faster_memory_never_raises_the_floor(bytes, flops, format, one, other):
    slow, fast = sorted((one, other))
    assert machine(fast).floor_us(bytes, flops, format) <= machine(slow).floor_us(bytes, flops, format)


@given(positive, formats, positive, peaks)
def test_at_the_ridge_point_both_bounds_take_equally_long(bytes, format, bandwidth_gbs, peak_tflops):
    assume(peak_tflops)
    envelope = machine(bandwidth_gbs, peak_tflops=peak_tflops)
    flops = bytes * envelope.ridge_point(format)
    assert envelope.floor_us(bytes, 0, format) == pytest.approx(envelope.floor_us(0, flops, format))
    assert envelope.floor_us(bytes, flops, format) == pytest.approx(envelope.floor_us(bytes, 0, format))


@given(st.sets(formats), formats, formats)
def test_wider_numbers_are_never_computed_faster_whichever_peaks_are_published(published, one, other):
    narrow, wide = sorted((one, other), key=FORMAT_BITS.__getitem__)
    assume(FORMAT_BITS[narrow] < FORMAT_BITS[wide])
    envelope = machine(peak_tflops={format: figure(3200 / FORMAT_BITS[format]) for format in published})
    assert envelope.peak_flops(wide) <= envelope.peak_flops(narrow)


def test_floor_is_in_microseconds_of_decimal_gigabytes_and_dense_teraflops():
    envelope = machine(bandwidth_gbs=3350, peak_tflops={"bf16": figure(989.4)})
    assert envelope.floor_us(3.35e9, 0, "bf16") == pytest.approx(1000)
    assert envelope.floor_us(0, 989.4e12, "bf16") == pytest.approx(1e6)
    assert envelope.ridge_point("bf16") == pytest.approx(295.34, abs=0.01)


def test_floor_uses_the_memory_that_holds_the_weights_and_its_peak_not_its_measured_read():
    memories = (Memory("sram", figure(50_000)), Memory("hbm", figure(2000), figure(64), read_gbs=figure(1500)))
    envelope = machine(memories=memories)
    assert envelope.main.best_read_gbs == 1500
    assert envelope.main.capacity_gb == figure(64)
    assert envelope.capacity_gb == 64
    assert envelope.floor_us(2e9, 0, "bf16") == pytest.approx(1000)


def test_best_read_is_the_peak_where_nothing_was_measured():
    assert machine(3000).main.best_read_gbs == 3000
    assert machine(memories=(Memory("hbm", figure(3000)),)).capacity_gb is None


@pytest.mark.parametrize(
    ("format", "tflops"),
    [
        ("fp8", 1800),
        ("int8", 900),
        ("fp4", 1800),
        ("mxfp4", 1800),
        ("int4", 1800),
        ("int4_g128", 1800),
        ("f16", 900),
        ("tf32", 60),
        ("f32", 60),
    ],
)
def test_a_format_without_its_own_peak_takes_the_next_wider_one(format, tflops):
    assert machine().peak_flops(format) == tflops * 1e12


def test_mxfp4_runs_at_the_peak_of_fp4():
    assert machine(peak_tflops={"fp8": figure(1800), "fp4": figure(3600)}).peak_flops("mxfp4") == 3600e12


def test_of_two_equally_wide_peaks_the_faster_stands_in():
    for fp8, int8 in ((1800, 900), (900, 1800)):
        assert machine(peak_tflops={"fp8": figure(fp8), "int8": figure(int8)}).peak_flops("fp4") == 1800e12


def test_a_format_wider_than_every_peak_is_bounded_by_the_nearest_narrower_one():
    assert machine(peak_tflops={"bf16": figure(148), "fp8": figure(296)}).peak_flops("f32") == 148e12
    assert machine(peak_tflops={"int8": figure(7)}).peak_flops("fp8") == 7e12


def test_a_machine_without_peaks_is_bounded_by_memory_alone():
    envelope = machine(1000, peak_tflops={})
    assert math.isinf(envelope.ridge_point("bf16"))
    assert envelope.floor_us(1e9, 1e18, "bf16") == pytest.approx(1000)


def test_an_unknown_format_is_refused_with_the_nearest_known_one():
    with pytest.raises(UsageError, match=r"number format must be one of .*; got 'bf61'; did you mean bf16\?"):
        machine().peak_flops("bf61")


@pytest.mark.parametrize("value", [0, -1, 1e-300, 1e13, math.inf, math.nan, "80", True, None])
def test_a_figure_must_be_within_bounds(value):
    with pytest.raises(UsageError, match=r"value must be a number from 1e-06 to 1e\+12; got"):
        figure(value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"low": 90}, "value must lie from low to high; got 80 with low 90 and high 80"),
        ({"high": 70}, "value must lie from low to high; got 80 with low 80 and high 70"),
        ({"low": -1}, "low must be a number from 1e-06 to 1e+12; got -1"),
        ({"source": " "}, "source must say where the figure comes from; got ' '"),
        ({"date": "last May"}, "date must be a year, year-month or year-month-day such as 2026-11; got 'last May'"),
        ({"basis": "guessed"}, "basis must be one of measured, datasheet, derived, recalled; got 'guessed'"),
    ],
)
def test_a_figure_keeps_its_provenance_and_its_interval(change, words):
    with pytest.raises(UsageError) as raised:
        replace(figure(80), **change)
    assert str(raised.value) == words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "toaster"}, "kind must be one of cpu, gpu, .*; got 'toaster'"),
        ({"weights_in": "sram"}, r"weights_in must be one of its memories \(hbm\); got 'sram'"),
        ({"memories": (Memory("hbm", figure(1)), Memory("sram", figure(2)))}, "fastest first; got hbm, sram at"),
        ({"peak_tflops": {"bf61": figure(1)}}, r"peak_tflops: .*; got 'bf61'; did you mean bf16\?"),
        ({"power_typical_w": figure(700), "power_peak_w": figure(400)}, "must not exceed peak power; got 700 W and 400 W"),
        ({"node_power_peak_w": figure(10200)}, "node_chips must say how many chips"),
    ],
)
def test_a_machine_that_contradicts_itself_is_refused_by_name(change, words):
    with pytest.raises(UsageError, match=f"^device Test-1: .*{words}"):
        machine(**change)


def test_quantities_lists_every_figure_under_its_field():
    envelope = machine(launch_us=figure(1.3))
    assert dict(envelope.quantities()) == {
        "memories.hbm.bandwidth_gbs": figure(3000),
        "memories.hbm.capacity_gb": figure(80),
        "peak_tflops.f32": figure(60),
        "peak_tflops.bf16": figure(900),
        "peak_tflops.fp8": figure(1800),
        "launch_us": figure(1.3),
    }


def test_equal_machines_are_equal_and_hash_alike():
    assert machine() == machine()
    assert hash(machine()) == hash(machine())
    assert machine() != machine(bandwidth_gbs=1)
