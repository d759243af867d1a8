"""The page in a real Chromium: what it draws, how it answers to people, and that it stays on its own."""

import random
import re

from axe_playwright_python.sync_playwright import Axe
from roofcast.harness.page.controls import choices
from roofcast.harness.page.plots import PLOTS
from roofcast.harness.page.plots.plot import rows_of

from .conftest import RECORDS, watch
from .test_page import printed, told

MOST_BYTES = 10_000_000


def drawn(page, name) -> int:
    """Rows that a plot shows."""
    return int(page.locator(f"#{name}").get_attribute("data-drawn"))


def choose(page, control, label) -> None:
    """As a reader chooses, waiting for the plots that follow."""
    page.select_option(f"select[name={control}]", label=label)
    settle(page)


def settle(page) -> None:
    """Waits until every plot that follows a choice is drawn."""
    page.wait_for_function("!('drawing' in document.documentElement.dataset)")


def violations(page) -> str:
    found = Axe().run(page)
    return found.generate_report() if found.violations_count else ""


def test_all_plots_are_drawn_from_one_small_file_without_a_complaint(opened, full_page) -> None:
    page = opened.page
    assert page.locator(".chart svg, .chart canvas").count() == len(PLOTS)
    assert all(drawn(page, plot.name) > 0 for plot in PLOTS)
    # Every marked point is on the page, not only in its data.
    assert page.locator("#published svg .mark-symbol.role-mark path").count() == drawn(page, "published")
    assert opened.complaints == []
    assert opened.requests == [full_page.as_uri()]
    assert full_page.stat().st_size < MOST_BYTES


def test_ten_thousand_records_are_on_the_page_and_filters_narrow_them(opened, full_data) -> None:
    page = opened.page
    (source,) = (one.sources["rows"] for one in PLOTS if one.name == "roofline")
    shown = rows_of(source, full_data.datasets, choices(full_data))
    assert drawn(page, "roofline") == len(shown) > RECORDS / 2
    choose(page, "op", "norm")
    assert drawn(page, "roofline") == sum(row["op"] == "norm" for row in shown)
    assert "norm" in page.locator("#roofline [data-given]").inner_text()
    # Of ten thousand kernels those are offered over time that were measured most often.
    assert page.locator("select[name=series] option").count() < 250
    assert choices(full_data)["series"] == page.locator("select[name=series] option:checked").inner_text()
    choose(page, "op", "any")
    choose(page, "envelope", "H100_SXM, specification")
    points = "[...document.querySelectorAll('#roofline svg .mark-symbol.role-mark path')]"
    painted = page.evaluate(f"{points}.filter((one) => one.getAttribute('fill')?.startsWith('#')).length")
    assert 0 < drawn(page, "roofline") == painted
    assert page.locator("#ceiling .chart").inner_text().startswith("Nothing with a measured ceiling")
    assert page.locator("#ceiling [data-save=svg]").is_disabled()
    choose(page, "envelope", "Some CPU (" + page.locator("select[name=envelope] option").all_inner_texts()[-1].split("(")[1])
    choose(page, "hardware", "H20-96GB")
    assert drawn(page, "published") == 16


def test_hovering_shows_the_record_and_pressing_shows_where_it_comes_from(opened) -> None:
    page = opened.page
    choose(page, "hardware", "any")
    point = page.locator("#speeds svg .mark-symbol.role-mark path").first
    point.scroll_into_view_if_needed()
    point.hover()
    page.wait_for_selector("#tip:not([hidden])")
    assert "tok/s" in page.locator("#tip").inner_text()
    point.click()
    drawer = page.locator("#drawer")
    assert drawer.is_visible()
    said = drawer.inner_text()
    assert "roofcast predict model=" in said
    assert re.search(r"bandwidth_gbs [\d.,]+\s+datasheet; .+; \d{4}", said.replace("\u200b", ""))
    assert violations(page) == ""
    page.keyboard.press("Escape")
    assert not drawer.is_visible()


def test_the_what_if_panel_says_what_the_command_line_prints(opened, grid, capsys) -> None:
    page = opened.page
    some = random.Random(1).sample(grid.cells(), 20)
    ask = next(ask for ask, lines in zip(some, told(some), strict=True) if len(lines) > 1)
    for control, label in choices_of(ask).items():
        page.select_option(f"select[name={control}]", label=label)
    settle(page)
    rows = page.locator("#answer tbody tr").all()
    shown = [[cell for one in row.locator("th, td").all_inner_texts() if (cell := one.strip())] for row in rows]
    assert shown == [joined(line) for line in printed(capsys, ask)]
    assert page.locator("#answer .headline strong").inner_text() == shown[0][2]
    assert page.locator("#answer .headline").inner_text().endswith(f"{shown[0][1]} to {shown[0][3]}")


CHOOSE = """(asked) => asked.map((choices) => {
  for (const [name, label] of Object.entries(choices)) {
    const select = document.querySelector(`select[name=${name}]`);
    select.value = [...select.options].find((one) => one.textContent === label).value;
    select.dispatchEvent(new Event("change"));
  }
  const lines = document.querySelectorAll("#answer .refusal, #answer tbody tr");
  const cells = (line) => (line.children.length ? [...line.children] : [line]);
  return [...lines].map((line) => cells(line).map((one) => one.textContent).filter(Boolean));
})"""


def test_hundreds_of_choices_show_what_predict_says_to_the_last_digit(opened, grid) -> None:
    asked = random.Random(2).sample(grid.cells(), 300)
    shown = opened.page.evaluate(CHOOSE, [choices_of(ask) for ask in asked])
    settle(opened.page)
    assert sum(len(one) == 1 for one in shown) > 0, "no refusal was drawn"
    for ask, lines, answer in zip(asked, shown, told(asked), strict=True):
        assert lines == [joined(line) for line in answer], choices_of(ask)


def choices_of(ask) -> dict[str, str]:
    """What a reader chooses to ask a question: control -> label."""
    names = {"model": ask.model.name, "device": ask.device.name, "format": ask.weight, "context": str(ask.context)}
    return names | {"devices": str(ask.devices or "fewest")}


def joined(line):
    """The page writes a figure's unit in brackets behind its name."""
    return line if len(line) == 1 else [f"{line[0]} ({line[1]})", *line[2:]]


def test_every_chart_has_its_values_in_a_table_that_a_keyboard_reaches(opened) -> None:
    page = opened.page
    for plot in PLOTS:
        page.locator(f"#{plot.name} summary").focus()
        page.keyboard.press("Enter")
        table = page.locator(f"#{plot.name} table")
        table.locator("tbody tr").first.wait_for()
        assert table.locator("thead th").all_inner_texts() == [*(one.name for one in plot.columns), "source"]
        page.keyboard.press("Enter")
    page.locator("#speeds summary").click()
    first = page.locator("#speeds tbody button").first
    first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#drawer").is_visible()
    assert page.evaluate("document.getElementById('drawer').contains(document.activeElement)")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == "Source"


def test_accessibility_checks_find_nothing(opened) -> None:
    assert violations(opened.page) == ""


def test_a_press_of_the_button_makes_it_dark_and_light_again(opened) -> None:
    page = opened.page
    colour = "getComputedStyle(document.querySelector('#speeds .role-axis-label text')).fill"
    seen = []
    for scheme in ("dark", "light"):
        page.locator("#theme").click()
        settle(page)
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        seen.append((page.evaluate("getComputedStyle(document.body).backgroundColor"), page.evaluate(colour)))
    assert seen[0] != seen[1]
    assert seen[1][0] == "rgb(255, 255, 255)"


def test_a_plot_is_saved_as_svg(opened) -> None:
    with opened.page.expect_download() as download:
        opened.page.locator("#published [data-save=svg]").click()
    assert download.value.suggested_filename == "published.svg"
    assert download.value.path().read_text().startswith("<svg")


def test_a_phone_loads_all_of_it_and_need_not_scroll_sideways(benchmark, browser, full_page) -> None:
    """`pytest tests/harness/page -k loads --benchmark-enable` prints how long it takes until the last plot is drawn."""
    kept = []

    def load():
        while kept:
            kept.pop().page.context.close()
        kept.append(watch(browser, full_page, width=390, height=844, color_scheme="dark", has_touch=True))

    benchmark.pedantic(load, rounds=5)
    (watched,) = kept
    page = watched.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(
        "[...document.querySelectorAll('.chart svg')].every((one) => one.getBoundingClientRect().right <= 391)"
    )
    assert watched.complaints == []
    assert violations(page) == ""
    page.context.close()


def test_paper_is_white_and_has_no_controls(opened) -> None:
    page = opened.page
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("[...document.querySelectorAll('select, button, nav')].every((one) => !one.checkVisibility())")
    label = "getComputedStyle(document.querySelector('#speeds .role-axis-label text')).fill"
    assert page.evaluate(label) == "rgb(0, 0, 0)"
    page.emulate_media(media="screen")


def test_who_wants_no_motion_gets_none(opened) -> None:
    page = opened.page
    scrolls = "getComputedStyle(document.documentElement).scrollBehavior"
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(scrolls) == "smooth"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(scrolls) == "auto"
    assert page.evaluate("document.getAnimations().length") == 0


def test_nothing_was_asked_of_a_network_or_complained_about_in_all_of_this(opened) -> None:
    assert opened.complaints == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in opened.requests)
