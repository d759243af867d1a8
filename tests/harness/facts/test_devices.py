import copy
import datetime

import pytest
from roofcast.harness.errors import UsageError
from roofcast.harness.facts.catalogue import facts, names, resolve
from roofcast.harness.facts.devices import device_from, device_named, target

MACHINES = names("device")


def changed(path: str, value=None, *, name: str = "H100_SXM", rename: str = "") -> dict:
    """A device's facts with one field set, or renamed, or (with neither) deleted."""
    given = copy.deepcopy(dict(facts("device", name)))
    *folders, last = path.split(".")
    inner = given
    for folder in folders:
        inner = inner[folder]
    if rename:
        inner[rename] = inner.pop(last)
    elif value is None:
        del inner[last]
    else:
        inner[last] = value
    return given


def refusal(given) -> str:
    with pytest.raises(UsageError) as raised:
        device_from(given, "H100_SXM")
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_every_chip_has_a_file():
    assert len(MACHINES) >= 34


@pytest.mark.parametrize("name", MACHINES)
def test_every_figure_says_where_it_comes_from(name):
    envelope = device_named(name)
    assert envelope.name == name
    assert envelope.capacity_gb
    for field, figure in envelope.quantities():
        assert figure.source, field
        assert figure.date, field
        assert (figure.source == "recalled, no document found") <= (figure.basis == "recalled"), field


@pytest.mark.parametrize("name", MACHINES)
def test_every_peak_is_declared_dense(name):
    assert all(peak["dense"] is True for peak in facts("device", name).get("peak_tflops", {}).values())


@pytest.mark.parametrize("name", MACHINES)
def test_no_memory_was_measured_faster_than_its_peak(name):
    for memory in device_named(name).memories:
        measured = [one.high or one.value for one in (memory.read_gbs, memory.copy_gbs, memory.triad_gbs) if one]
        assert all(value <= memory.bandwidth_gbs.value for value in measured)


@pytest.mark.parametrize("name", MACHINES)
def test_narrower_formats_are_never_slower(name):
    envelope = device_named(name)
    chain = [envelope.peak_flops(format) for format in ("f32", "tf32", "bf16", "fp8", "fp4")]
    assert chain == sorted(chain)


@pytest.mark.parametrize("name", MACHINES)
def test_no_alias_is_claimed_by_two_machines(name):
    assert {resolve("device", spelling) for spelling in (name, *facts("device", name)["aliases"])} == {name}


def test_the_b200_is_no_h100():
    h100, b200 = device_named("h100"), device_named("b200")
    for format in ("f32", "tf32", "bf16", "f16", "fp8", "int8"):
        assert b200.peak_flops(format) > h100.peak_flops(format)
    assert b200.peak_flops("bf16") == 2250e12
    assert b200.main.bandwidth_gbs.value > 2 * h100.main.bandwidth_gbs.value


def test_the_two_h100_differ():
    assert device_named("H100_SXM").main.bandwidth_gbs.value == 3350
    assert device_named("H100_PCIe").main.bandwidth_gbs.value == 2039


def test_the_h100_read_its_memory_as_measured_and_its_floor_is_the_peak():
    h100 = device_named("H100_SXM")
    assert h100.main.best_read_gbs == 3180
    assert h100.floor_us(3.35e9, 0, "bf16") == pytest.approx(1000)
    assert h100.node_chips.value == 8
    assert (h100.node_power_typical_w.low, h100.node_power_typical_w.high) == (6500, 8500)
    assert h100.node_power_peak_w.value == 10200


def test_the_wse3_is_a_latency_machine_with_a_thin_link():
    wse3 = device_named("WSE-3")
    assert wse3.transistors_b.value == 4000
    assert wse3.capacity_gb == 44
    assert wse3.main.bandwidth_gbs.value == 21e6
    assert wse3.cores.value == 900_000
    assert wse3.external_link_gbs.value == 150
    assert (wse3.layer_us.low, wse3.layer_us.value, wse3.layer_us.high) == (11.6, 17.4, 27.8)
    assert wse3.layer_us.value == pytest.approx(1e6 / 1800 / 32, abs=0.05)
    assert wse3.peak_flops("f16") < 20e15, "125 PFLOP/s is a sparse figure"


def test_capacities_are_decimal_gigabytes():
    sizes = {"H100_SXM": 80, "H200": 141, "A100_SXM_40GB": 40, "MI300X": 192, "Groq_LPU_v1": 0.23}
    assert {name: device_named(name).capacity_gb for name in sizes} == sizes


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("h100", "H100_SXM"),
        ("H100 (Argonne; SXM likely)", "H100_SXM"),
        ("h100_sxm", "H100_SXM"),
        ("H100-PCIe-80GB", "H100_PCIe"),
        ("A100-SXM/PCIe-80GB(unspec)", "A100_SXM_80GB"),
        ("A100 (Argonne; 40 GB likely, unverified)", "A100_SXM_40GB"),
        ("NVIDIA H100 80GB HBM3", "H100_SXM"),
        ("CS-3 (WSE-3)", "WSE-3_CS-3"),
        ("wse3", "WSE-3_CS-3"),
        ("WSE-2", "WSE-2_CS-2"),
        ("Groq LPU v1", "Groq_LPU_v1"),
        ("groq", "Groq_LPU_v1"),
        ("RTX4090", "RTX_4090"),
        ("RTX6000-Ada", "RTX_6000_Ada"),
        ("Apple-M1-Max-24c", "Apple_M1_Max_24c"),
        ("m2-ultra", "Apple_M2_Ultra"),
        ("tpu-v5e", "TPU_v5e"),
        ("TPU v5 lite", "TPU_v5e"),
        ("DGX-Spark-GB10", "DGX_Spark_GB10"),
        ("H20-96GB", "H20"),
        ("RTX3090Ti", "RTX_3090_Ti"),
        ("MI250X-1GCD", "MI250X_GCD"),
        ("Tenstorrent-n300", "Tenstorrent_n300"),
    ],
)
def test_machines_go_by_many_spellings(spelling, name):
    assert device_named(spelling).name == name


@pytest.mark.parametrize("spelling", ["RTX3080Ti", "MI250X", "RX7900XT", "Tenstorrent-n150", "GPU (Fireworks, unspecified)"])
def test_a_chip_without_a_file_is_not_taken_for_another(spelling):
    with pytest.raises(UsageError, match="device must be a file in conf/device"):
        device_named(spelling)


@pytest.mark.parametrize(
    ("text", "name", "count"),
    [
        ("H100_SXM", "H100_SXM", 1),
        ("8xH100_SXM", "H100_SXM", 8),
        ("8x h100", "H100_SXM", 8),
        (" 16 X sn40l ", "SN40L", 16),
        ("4\u00d7a100", "A100_SXM_80GB", 4),
        ("2x4090", "RTX_4090", 2),
        ("rtx4090", "RTX_4090", 1),
    ],
)
def test_a_target_is_a_machine_and_a_count(text, name, count):
    envelope, found = target(text)
    assert (envelope.name, found) == (name, count)


@pytest.mark.parametrize("text", ["0xh100", "-8xh100", "1.5x h100", "1000000xh100", "²xh100"])
def test_a_target_needs_a_whole_count(text):
    with pytest.raises(UsageError, match="device count must be a whole number from 1 to 999999"):
        target(text)


@pytest.mark.parametrize("text", ["", "8x", "xh", "8xh1000000", "8 of them", "h100x"])
def test_a_target_needs_a_known_machine(text):
    with pytest.raises(UsageError, match="device must be a file in conf/device or one of their aliases; got"):
        target(text)


def test_a_file_without_bandwidth_is_refused():
    assert refusal(changed("memories.hbm.bandwidth_gbs")).startswith(
        "device H100_SXM: memories.hbm: bandwidth_gbs must be given; got only capacity_gb, read_gbs"
    )


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("name", 5, "name must be a text; got 5"),
        ("note", {"a": 1}, "note must be a text; got {'a': 1}"),
        ("weights_in", ["hbm"], "weights_in must be a text; got ['hbm']"),
        ("aliases", "h100", "aliases must be a list of texts; got 'h100'"),
        ("aliases", [1], "aliases must be a list of texts; got [1]"),
        ("memories", {5: {}}, "memories: names of fields must be of letters, digits, _ and -, 40 at the most; got 5"),
        ("memories", {"a.b": {}}, "memories: names of fields must be of letters, digits, _ and -, 40 at the most; got 'a.b'"),
        ("peak_tflops", {8: {}}, "peak_tflops: names of fields must be of letters, digits, _ and -, 40 at the most; got 8"),
        ("memories.hbm.bandwidth_gbs.note", 5, "memories.hbm.bandwidth_gbs: note must be a text; got 5"),
    ],
)
def test_what_is_no_text_is_refused(path, value, sentence):
    assert refusal(changed(path, value)) == f"device H100_SXM: {sentence}"


@pytest.mark.parametrize("text", [" " * 100_000, "9" * 100_000, "8x" * 50_000, " x" * 50_000, "h100" * 50_000])
def test_a_name_of_any_length_is_refused_at_once(text):
    with pytest.raises(UsageError) as raised:
        target(text)
    assert len(str(raised.value)) < 400


def test_the_number_of_memories_is_bounded():
    tier = facts("device", "H100_SXM")["memories"]["hbm"]
    assert "memories must be at most 16; got 17" in refusal(changed("memories", {f"m{one}": tier for one in range(17)}))


def test_no_machine_but_this_is_called_here():
    with pytest.raises(UsageError, match="name must not be here"):
        device_from({**facts("device", "H100_SXM"), "name": "here"}, "here")


@pytest.mark.parametrize("value", [0, -3350])
def test_a_bandwidth_must_be_above_zero(value):
    assert refusal(changed("memories.hbm.bandwidth_gbs.value", value)) == (
        f"device H100_SXM: memories.hbm.bandwidth_gbs: value must be a number from 1e-06 to 1e+12; got {value}"
    )


@pytest.mark.parametrize(
    ("path", "rename"),
    [
        ("launch_us", "lauch_us"),
        ("memories.hbm.bandwidth_gbs", "bandwith_gbs"),
        ("memories.hbm.bandwidth_gbs.source", "sorce"),
        ("peak_tflops.bf16.dense", "dens"),
    ],
)
def test_a_misspelt_field_is_refused_with_the_nearest_one(path, rename):
    said = refusal(changed(path, rename=rename))
    assert said.startswith("device H100_SXM")
    assert said.endswith(f"there is no field {rename!r}; did you mean {path.split('.')[-1]}?")


def test_a_field_like_no_other_is_refused_with_all_that_exist():
    assert "there is no field 'zzz'; accepted: bandwidth_gbs, capacity_gb" in refusal(changed("memories.hbm.zzz", 1))


def test_a_sparse_peak_is_refused():
    assert refusal(changed("peak_tflops.bf16.dense", False)) == (
        "device H100_SXM: peak_tflops.bf16: dense must be true, for a peak is never a 2:4 sparse figure; got False"
    )
    assert "peak_tflops.bf16: dense must be given; got only value, basis" in refusal(changed("peak_tflops.bf16.dense"))


def test_a_misspelt_format_is_refused_with_the_nearest_one():
    assert "peak_tflops: number format must be one of" in refusal(changed("peak_tflops.bf16", rename="bf61"))


@pytest.mark.parametrize("field", ["value", "source", "date", "basis"])
def test_a_figure_without_provenance_is_refused(field):
    assert f"device H100_SXM: power_peak_w: {field} must be given" in refusal(changed(f"power_peak_w.{field}"))


def test_a_bare_number_is_refused():
    assert refusal(changed("power_peak_w", 700)) == (
        "device H100_SXM: power_peak_w must say what it rests on, as in "
        '{value: 700, basis: datasheet, source: "the product page", date: 2026-11}; got 700'
    )
    assert refusal([1]) == "device H100_SXM must be a mapping of fields to values; got [1]"


def test_a_file_goes_by_its_own_name():
    assert refusal(changed("name", "H100")) == "device H100_SXM: name must be that of the file; got 'H100'"


@pytest.mark.parametrize(("date", "read"), [(2024, "2024"), (datetime.date(2025, 5, 27), "2025-05-27")])
def test_a_date_may_be_what_yaml_makes_of_it(date, read):
    assert device_from(changed("launch_us.date", date), "H100_SXM").launch_us.date == read
