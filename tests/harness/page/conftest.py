"""One page over ten thousand measurements and one browser, shared by all tests of the page."""

import dataclasses
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from roofcast.harness.facts.catalogue import names
from roofcast.harness.facts.devices import device_named
from roofcast.harness.page.build import html
from roofcast.harness.page.data import gather
from roofcast.harness.page.grid import Grid, models
from roofcast.harness.store.record import Outcome, Subject
from roofcast.harness.store.store import Store
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.model import Formats, Step
from roofcast.kernels.norm import Norm
from roofcast.kernels.op import Need

RECORDS = 10_000
RUNS = 50
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="session")
def grid() -> Grid:
    """Few models and all machines: enough for every plot."""
    machines = tuple(device_named(name) for name in names("device"))
    return Grid(models(["llama-3.1-8b", "gpt3-175b"]), machines, ("bf16", "int4"), (512, 2048), (None, 8))


@pytest.fixture(scope="session")
def full(tmp_path_factory, measurement) -> Store:
    """Most kernels measured once, one in each of many runs, one wrong."""
    store = Store(tmp_path_factory.mktemp("full"))
    step = Step(models(["llama-3.1-8b"])[0], 2048, Formats("bf16", "bf16", "f32"))
    usual = measurement()
    first = datetime(2026, 1, 1, tzinfo=UTC)
    statistics = [
        dataclasses.replace(usual.statistics, latency_us=time_us, latency_low_us=0.9 * time_us, latency_high_us=1.2 * time_us)
        for time_us in range(100, 130)
    ]
    works = [dataclasses.replace(usual.work, flops=usual.work.flops * (1 + share / 10)) for share in range(20)]

    def made(place, workload, **parts):
        varied = {
            "record_id": f"{place:032x}",
            "started_at": (first + timedelta(hours=place)).isoformat(timespec="microseconds"),
            "subject": Subject.of(workload, "xla.dot", step, [Need("qkv", workload, 32)]),
            "statistics": statistics[place % len(statistics)],
            "work": works[place % len(works)],
        }
        return dataclasses.replace(usual, **varied | parts)

    again = Norm(kind="rmsnorm", d=4096, weight_format="bf16")
    kernels = [made(place, Gemv(n=64 + place, k=4096, weight_format="bf16")) for place in range(RECORDS - RUNS - 1)]
    history = [made(RECORDS - RUNS - 1 + place, again) for place in range(RUNS)]
    wrong = made(RECORDS, Norm(kind="rmsnorm", d=8, weight_format="bf16"), outcome=Outcome.judged(1.0, 1e-3),
                 timing=None, statistics=None)  # fmt: skip
    store.append([*kernels, *history, wrong])
    return store


@pytest.fixture(scope="session")
def full_data(full, grid):
    return gather(full, grid, ["WSE-3_CS-3", "H100_SXM"])


@pytest.fixture(scope="session")
def full_page(full_data, tmp_path_factory):
    """The page's file."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html(full_data), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def browser():
    """Chromium, driven."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on this machine, such as Debian's package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=FLAGS.split())
        yield found
        found.close()


@dataclasses.dataclass
class Watched:
    """A page and what it did that it should not."""

    page: object
    complaints: list
    requests: list


@pytest.fixture(scope="session")
def opened(browser, full_page):
    """The page on a laptop, all plots drawn."""
    watched = watch(browser, full_page, width=1366, height=768, color_scheme="light")
    yield watched
    watched.page.context.close()


def watch(browser, path, width, height, **more) -> Watched:
    """Opens a file and waits until all is drawn."""
    page = browser.new_context(viewport={"width": width, "height": height}, **more).new_page()
    watched = Watched(page, [], [])
    page.on(
        "console", lambda message: watched.complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on("request", lambda request: watched.requests.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_function("document.documentElement.dataset.drawn", timeout=60_000)
    return watched
