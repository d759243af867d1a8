"""What the page is made of, before any browser sees it."""

import base64
import dataclasses
import gzip
import json
import random
import re
from pathlib import Path

import pytest
from roofcast.harness import cli
from roofcast.harness.page import kept
from roofcast.harness.page.build import export, html, pack
from roofcast.harness.page.caches import caches
from roofcast.harness.page.controls import CONTROLS, choices
from roofcast.harness.page.data import gather
from roofcast.harness.page.grid import models
from roofcast.harness.page.lead import lead
from roofcast.harness.page.plots import PLOTS
from roofcast.harness.page.plots.plot import rows_of
from roofcast.harness.page.plots.theme import COLOURS, DARK, LIGHT, SHAPES
from roofcast.harness.predict.answer import answers
from roofcast.harness.report.answer import in_full
from roofcast.harness.store.store import Store
from roofcast.harness.words import figure

from .conftest import MOUNTAIN, RECORDS, RUNS

LEAST_CONTRAST = 3.0
"""Of what a plot draws against its ground (WCAG 2.2, success criterion 1.4.11)."""


def printed(capsys, ask) -> list[list[str]]:
    """The figures of the table that the command line prints: name with unit, low, point, high; or the refusal."""
    words = [f"model={ask.model.name}", f"device={ask.device.name}", f"format={ask.weight}", f"context={ask.context}"]
    words += [f"prompt={ask.prompt}", *([f"devices={ask.devices}"] if ask.devices else [])]
    code = cli.run(["predict", *words])
    said = capsys.readouterr()
    if code:
        return [[said.err.removeprefix("roofcast: ").strip()]]
    table = said.out.split("\n\n")[0:2]
    lines = "\n".join(table).splitlines()
    rule = next(place for place, line in enumerate(lines) if "───" in line)
    return [re.split(r"\s{2,}", line.strip()) for line in lines[rule + 1 :] if line.strip()]


def told(asks) -> list[list[list[str]]]:
    """The same of several questions, without the command line around them."""
    return [
        [[one.refusal]] if one.refusal else [[cell for cell in row if cell] for row in in_full(one).rows]
        for one in answers(asks, remarked=False)
    ]


def shown(data, place) -> list[list[str]]:
    """The same figures as the page has them."""
    cell = data.words.cells[place]
    if cell.startswith("!"):
        return [[data.words.texts[int(cell[1:])]]]
    names, _, _, *values = cell.split("|")
    named = data.words.figures[int(names)]
    rows = [[*name, *values[3 * row : 3 * row + 3]] for row, name in enumerate(named)]
    return [[value for value in row if value] for row in rows]


def test_every_answer_is_what_predict_prints(full_data, grid, capsys) -> None:
    cells = grid.cells()
    assert len(cells) == len(full_data.words.cells)
    refused = next(place for place, cell in enumerate(full_data.words.cells) if cell.startswith("!"))
    for place in [refused, *random.Random(0).sample(range(len(cells)), 6)]:
        assert shown(full_data, place) == printed(capsys, cells[place]) == told([cells[place]])[0]


def test_every_plot_has_rows_that_say_where_they_come_from(full_data) -> None:
    chosen = choices(full_data)
    for plot in PLOTS:
        for source in plot.sources.values():
            rows = rows_of(source, full_data.datasets, chosen)
            # No published speed is of the first model at its format's bits everywhere; every other plot starts with rows.
            assert rows, plot.name
            assert all(re.match(r"(record|kernel|device|predict|published|validation):", row["from"]) for row in rows)
        first = rows_of(next(iter(plot.sources.values())), full_data.datasets, chosen)
        assert {column.field for column in plot.columns} <= {name for row in first for name in row}


def test_the_page_opens_with_what_it_says(full_data) -> None:
    facts = {one.section: one for one in lead(full_data)}
    assert list(facts) == ["predictions", "validation", "kernels", "claims"]
    chosen = choices(full_data)
    (asked,) = (
        row
        for row in full_data.datasets["speeds"]
        if all(row[name] == chosen[name] for name in ("model", "format", "context", "device"))
    )
    assert facts["predictions"].figure == f"{figure(asked['point'])} tokens/s"
    assert f"{figure(asked['low'])} to {figure(asked['high'])}" in facts["predictions"].said
    published = [row for row in full_data.datasets["published"] if row["inside"]]
    inside = sum(row["inside"] == "yes" for row in published)
    assert facts["validation"].figure == f"{inside} of {len(published)}"
    assert facts["kernels"].figure == "10,000 measurements"
    assert facts["claims"].figure == "14 claims"


def test_of_a_machine_that_does_not_hold_the_model_the_page_opens_without_a_speed(grid, tmp_path) -> None:
    small = next(one for one in grid.machines if one.name == "Apple_M3_10c")
    cell = dataclasses.replace(
        grid, machines=(small,), models=models(["gpt3-175b"]), formats=("bf16",), contexts=(2048,), devices=(None,)
    )
    data = gather(Store(tmp_path / "none"), cell, [])
    assert [one.section for one in lead(data)] == ["validation", "kernels", "claims"]
    assert "roofcast bench" in lead(data)[1].said


def test_no_predicted_point_lies_outside_its_interval_or_above_its_ceiling(full_data) -> None:
    for row in full_data.datasets["speeds"]:
        assert row["low"] <= row["point"] <= row["high"] <= row["ceiling"] * (1 + 1e-5)
        assert row["cost_low"] <= row["cost_point"] <= row["cost_high"]


def test_a_waterfall_has_no_gap_and_ends_where_the_token_ends() -> None:
    *parts, whole = kept.falls({"weights": 3000.0, "kv": 0.0, "layers": 1000.0}, {"from": "predict:0"})
    assert [one["start_ms"] for one in parts] == [0.0, 3.0, 3.0]
    assert [one["end_ms"] for one in parts] == [3.0, 3.0, 4.0]
    assert (whole["start_ms"], whole["end_ms"], whole["share"]) == (0.0, 4.0, 1.0)


def test_memory_meets_the_fastest_arithmetic_at_the_ridge() -> None:
    lines = kept.roof_lines("one", {"memory read": 100.0, "matmul bf16": 1000.0, "multiply-add f32": 200.0}, "record:0")
    ends = {(one["roof"], one["intensity"]): one["gflops"] for one in lines}
    assert ends["memory read", 10.0] == ends["matmul bf16", 10.0] == 1000.0
    assert ends["multiply-add f32", 2.0] == 200.0
    assert kept.roof_lines("one", {"memory read": 100.0}, "record:0") == []


def test_the_floor_of_what_may_have_come_from_a_cache_is_no_roof_of_the_memory(measurement, tmp_path: Path) -> None:
    record = measurement()
    moved = record.work.bytes_read + record.work.bytes_written
    fast = dataclasses.replace(record.statistics, floor_us=moved / (1e3 * 5 * record.ceilings.read_gbs))
    unknown = dataclasses.replace(fast, fraction_of_ceiling=None, fraction_low=None, fraction_high=None)
    for place, (statistics, times) in enumerate([(fast, 5), (unknown, 1)]):
        store = Store(tmp_path / str(place))
        store.append([dataclasses.replace(record, statistics=statistics)])
        [row] = kept.kept(store).found
        assert row["fraction"] == statistics.fraction_of_ceiling
        assert row["roofs"]["memory read"] == pytest.approx(times * record.ceilings.read_gbs, rel=1e-4)


def test_caches_are_drawn_of_the_newest_ceilings_of_a_machine_with_their_ends(measurement, tmp_path: Path) -> None:
    def at(started_at: str, gbs: float):
        record = measurement(started_at=started_at, host=dataclasses.replace(measurement().host, cache_bytes={"L2": 2**25}))
        ceilings = dataclasses.replace(record.ceilings, **MOUNTAIN | {"working_set_gbs": (gbs,) * 4 + (20.0,) * 4})
        return dataclasses.replace(record, ceilings=ceilings)

    store = Store(tmp_path / "results")
    store.append([measurement(started_at="2026-01-09T00:00:00+00:00"), at("2026-01-02T00:00:00+00:00", 90.0)])
    store.append([newest := at("2026-01-03T00:00:00+00:00", 150.0)])
    sizes, ends = caches(store)
    assert [row["gbs"] for row in sizes] == [150.0] * 4 + [20.0] * 4
    assert {row["from"] for row in [*sizes, *ends]} == {f"record:{newest.record_id}"}
    assert [row["level"] for row in sizes] == ["L2"] * 4 + ["memory"] * 4
    assert [(row["end"], row["size"]) for row in ends] == [("measured", "2 MiB"), ("told by the machine", "32 MiB")]
    assert caches(Store(tmp_path / "none")) == ([], [])


def test_only_the_newest_measurement_of_a_kernel_is_drawn_and_none_is_lost(full_data) -> None:
    measured = [row for row in full_data.datasets["kernels"] if row["from"].startswith("record:")]
    again = [row for row in measured if row["series"] == choices(full_data)["series"]]
    assert full_data.measured == len(measured) == RECORDS
    assert [row["newest"] for row in again] == [False] * (RUNS - 1) + [True]


def test_a_measured_step_counts_the_fastest_implementation_as_often_as_a_token_needs_it() -> None:
    usual = {
        "envelope": "e",
        "model": "m",
        "format": "bf16",
        "context": 1,
        "newest_in_step": True,
        "residency": "cold",
        "op": "gemv",
    }
    kernels = [
        usual | {"role": "qkv", "kernel": "a", "latency_us": time_us, "count": 2, "from": "record:0"} for time_us in (5.0, 4.0)
    ]
    stale = usual | {"role": "out", "kernel": "b", "latency_us": 9.0, "count": 1, "newest_in_step": False, "from": "record:1"}
    rows = kept.measured_steps([*kernels, stale])
    assert [(row["term"], row["time_us"]) for row in rows] == [("gemv", 8.0), ("whole token", 8.0)]


def test_the_packed_data_is_json_that_holds_every_row(full_data) -> None:
    content = json.loads(gzip.decompress(base64.b64decode(pack(full_data))))
    assert {one.dataset for one in CONTROLS if one.dataset} <= set(content["datasets"])
    for name, rows in full_data.datasets.items():
        packed = content["datasets"][name]
        assert packed["count"] == len(rows)
        columns = {
            field: one if isinstance(one, list) else [one["of"][place] for place in one["at"]]
            for field, one in packed["columns"].items()
        }
        for place in {0, len(rows) // 2, len(rows) - 1}:
            assert {field: one[place] for field, one in columns.items()} == {field: rows[place].get(field) for field in columns}


def test_plots_are_written_as_svg_and_png(full_data, tmp_path) -> None:
    drawn = {"speeds", "published", "roofline", "caches"}
    some = {name: rows[:500] if name == "kernels" else rows for name, rows in full_data.datasets.items()}
    written = export(dataclasses.replace(full_data, datasets=some), tmp_path / "plots", sorted(drawn))
    assert {one.suffix for one in written} == {".svg", ".png"}
    assert {one.stem for one in written} == drawn
    assert all(one.read_bytes().startswith(b"\x89PNG" if one.suffix == ".png" else b"<svg") for one in written)


def test_an_empty_store_still_gives_predictions_claims_and_what_fills_it(grid, tmp_path) -> None:
    small = dataclasses.replace(grid, models=grid.models[:1], formats=("bf16",), contexts=(2048,), devices=(None,))
    data = gather(Store(tmp_path / "none"), small, [])
    page = html(data)
    assert data.measured == 0
    assert "roofcast bench</code> measures the kernels" in page
    assert "As stated" in page
    assert data.datasets["speeds"]
    assert len(data.claims) == 14


def test_colours_stand_out_from_both_grounds_and_no_two_share_a_shape() -> None:
    assert len(set(SHAPES)) == len(set(COLOURS)) == len(COLOURS) == len(SHAPES)
    for ground in (LIGHT["ground"], DARK["ground"]):
        for colour in COLOURS:
            assert contrast(colour, ground) >= LEAST_CONTRAST, (colour, ground)


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_command_writes_a_page_and_says_what_is_missing(tmp_path: Path, capsys) -> None:
    small = ["models=[llama-3.1-8b]", "formats=[int4]", "contexts=[2048]", "devices=[]"]
    output = tmp_path / "report.html"
    assert cli.run(["report", *small, f"results={tmp_path / 'none'}", f"output={output}", "price=2.5"]) == 0
    assert "no measurements" in capsys.readouterr().out
    assert output.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("output=report.pdf", "output must be a file ending in .html"),
        ("models=[]", "models must hold at least one entry; got none"),
        ("models=[nothing]", "model must be a file in conf/model"),
        ("formats=[int5]", "formats must be one of"),
        ("contexts=[0]", "contexts must hold whole numbers from 1; got 0"),
        ("compare=[nothing]", "device must be a file in conf/device"),
        ("prompt=0", "prompt must be a whole number from 1; got 0"),
    ],
)
def test_a_value_that_cannot_be_is_one_sentence(tmp_path: Path, capsys, override, said) -> None:
    assert cli.run(["report", f"output={tmp_path / 'x.html'}", override]) == cli.USAGE
    assert said in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_named_and_counts_as_an_error(tmp_path: Path, measurement, capsys) -> None:
    store = Store(tmp_path / "results")
    store.append([measurement()])
    broken = next((tmp_path / "results").iterdir())
    broken.write_bytes(broken.read_bytes()[:-40])
    small = ["models=[llama-3.1-8b]", "formats=[int4]", "contexts=[2048]", "devices=[]"]
    assert cli.run(["report", *small, f"results={store.folder}", f"output={tmp_path / 'x.html'}"]) == cli.FAILED
    assert broken.name in capsys.readouterr().err
    assert broken.name in (tmp_path / "x.html").read_text()
