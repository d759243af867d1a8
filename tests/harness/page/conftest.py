"""One page over ten thousand measurements and one browser, shared by all tests of the page."""

import dataclasses
import itertools
import random
import shutil
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import pytest
from omegaconf import OmegaConf
from roofcast import conf
from roofcast.harness.facts.catalogue import names
from roofcast.harness.facts.models import model_named
from roofcast.harness.page.build import html
from roofcast.harness.page.data import gather
from roofcast.harness.page.grid import Grid
from roofcast.harness.steps.workloads import decode_step
from roofcast.harness.store.record import Outcome, Subject, Work
from roofcast.harness.store.store import Store
from roofcast.harness.verbs.report import grid_of
from roofcast.kernels.model import Formats, Step
from roofcast.kernels.norm import Norm
from roofcast.kernels.op import Need, Workload

RECORDS = 10_000
RUNS = 50
CODES = ("cpu.numba", "cpu.fused", "xla.dot", "xla.decoded_sum", "pallas.tiled")
FORMATS = ("bf16", "int8", "int4", "f32", "fp8")
MOUNTAIN = {
    "working_set_bytes": tuple(2.0**place for place in range(18, 26)),
    "working_set_gbs": (150.0,) * 4 + (20.0,) * 4,
    "working_set_low_gbs": (140.0,) * 4 + (18.0,) * 4,
    "working_set_high_gbs": (155.0,) * 4 + (21.0,) * 4,
}
"""Rates that show an L2 of 2 MiB, as the machine tells."""
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="session")
def asked():
    """The configuration that `roofcast report` has by default."""
    return OmegaConf.load(files(conf) / "report.yaml")


@pytest.fixture(scope="session")
def grid(asked) -> Grid:
    """All that the page can be asked by default: how large it is and how fast it loads depends on that."""
    return grid_of(asked)


@pytest.fixture(scope="session")
def full(tmp_path_factory, measurement) -> Store:
    """The kernels of many decode steps, each by several implementations once, one in each of many runs, one wrong."""
    store = Store(tmp_path_factory.mktemp("full"))
    usual = measurement()
    usual = dataclasses.replace(usual, ceilings=dataclasses.replace(usual.ceilings, **MOUNTAIN))
    first = datetime(2026, 1, 1, tzinfo=UTC)
    drawn = random.Random(0)

    def made(place, step, need, code, **parts):
        call = need.workload
        cost = call.cost()
        # Every digit differs from record to record, as those of measurements do.
        share = drawn.uniform(0.3, 1.0)
        floor_us = cost.streamed_bytes / 20.4e3 + 1.0
        time_us = floor_us / share
        varied = {
            "record_id": f"{drawn.getrandbits(128):032x}",
            "started_at": (first + timedelta(minutes=place)).isoformat(timespec="microseconds"),
            "run": dataclasses.replace(usual.run, overrides=f"model={step.model.name} context={step.context}"),
            "subject": Subject.of(call, code, step, [need]),
            "statistics": dataclasses.replace(
                usual.statistics,
                latency_us=time_us,
                latency_low_us=time_us * drawn.uniform(0.9, 0.99),
                latency_high_us=time_us * drawn.uniform(1.01, 1.2),
                bandwidth_gbs=cost.streamed_bytes / time_us / 1e3,
                fraction_of_ceiling=share,
                fraction_low=share * 0.97,
                fraction_high=share * drawn.uniform(1.01, 1.1),
                floor_us=floor_us,
            ),
            "work": Work.of(cost),
        }
        return dataclasses.replace(usual, **varied | parts)

    kernels: dict[tuple[Workload, str], tuple[Step, Need, str]] = {}
    for step, need in many_calls():
        for code in CODES:
            kernels.setdefault((need.workload, code), (step, need, code))
        if len(kernels) > RECORDS:
            break
    again = kernels.pop(next(one for one in kernels if one[0].op == "norm"))
    runs = [made(place, *again) for place in range(RUNS)]
    once = [made(RUNS + place, *one) for place, one in enumerate(itertools.islice(kernels.values(), RECORDS - RUNS - 1))]
    tiny = Norm(kind="rmsnorm", d=8, weight_format="bf16")
    wrong = made(RECORDS, again[0], Need("first_norm", tiny, 1), "xla.normalise", outcome=Outcome.judged(1.0, 1e-3),
                 timing=None, statistics=None)  # fmt: skip
    store.append([*runs, *once, wrong])
    return store


def many_calls():
    """The calls of the catalogue's decode steps, as sweeps would measure them."""
    for context, format, name in itertools.product((2048, 8192, 512, 32768), FORMATS, names("model")):
        model = model_named(name)
        if model.family != "encoder":
            step = Step(model, context, Formats(weight=format))
            yield from ((step, need) for need in decode_step(step) if need.count)


@pytest.fixture(scope="session")
def full_data(full, grid, asked):
    return gather(full, grid, list(asked.compare))


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
