"""`roofcast bench`: measure a step's kernels here, keep every measurement, show the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ...kernels import blocks, check
from ...kernels.dispatch import forget
from ...kernels.op import Implementation, Need, Workload
from ...kernels.registry import supported
from ...kernels.step import DecodeStep
from ...kernels.step.checkpoint import Checkpoint, differences
from ..config.overrides import of_job, reproducing
from ..errors import UsageError
from ..host import gpu
from ..host import host as hosts
from ..host.exclusive import Device, device_name, device_number
from ..host.memory import free_bytes
from ..host.nvidia import gpu_state
from ..measure import session
from ..measure.budget import FAR_BYTES, Budget
from ..measure.ceilings import measure_limits
from ..measure.choice import chosen as chosen_implementations
from ..measure.choice import chosen_peers
from ..measure.compile_cache import keep_programs_in
from ..measure.device import backend_and_kind, free_device_bytes
from ..measure.device_timer import device_timer
from ..measure.programs import programs_folder
from ..measure.prove import Draw
from ..measure.recording import recorder
from ..measure.result import Machine, Result
from ..measure.spent import Spent, both
from ..measure.timer import choose as choose_timer
from ..predict.whole import depths
from ..report.output import checked
from ..report.progress import Progress
from ..report.summary import summary
from ..report.table import SUFFIXES, show, write
from ..shown import warn
from ..steps.plan import Plan
from ..store.figures import Residency
from ..store.known_ceilings import Shelf
from ..store.recall import Usual, usual
from ..store.record import Measurement, Run
from ..store.store import Store
from .identity import config_hash
from .question import nothing_called, question

MEASURED_FORMATS = ("f32", "bf16")
"""Formats whose matrix-product peak is probed: those that kernels compute in."""

MANY_FILES = 256
"""Runs whose files are merged into one: reading that many small files takes about a second."""


@dataclass(frozen=True)
class Kept:
    """What one configuration came to.

    Attributes:
        asked: the question.
        run_id: of its measurements.
        records: they themselves, all of them in the store.
        folder: of the store.
        complaint: what the store holds that cannot be read, in one sentence, empty where that is nothing.
        spent: where the time went.
    """

    asked: Plan
    run_id: str
    records: list[Measurement]
    folder: Path | str
    complaint: str
    spent: Spent

    @property
    def exit_code(self) -> int:
        """1 if a kernel was wrong, refused or failed, or a file cannot be read."""
        return int(bool(self.complaint) or any(one.outcome.status in ("wrong", "refused", "failed") for one in self.records))


def run(config: DictConfig) -> int:
    """Measures, stores and shows. Returns 1 if a kernel was wrong, refused or failed."""
    output = checked(config.output, SUFFIXES)
    with Progress() as progress:
        kept = measure(config, reproducing(of_job()), progress)
    shown = summary(kept.records, kept.asked)
    for table in shown:
        show(table)
    print(f"\n  {len(kept.records)} measurements kept in {kept.folder}")
    if output is not None:
        write(shown, output)
    if kept.complaint:
        warn(kept.complaint)
    return kept.exit_code


def measure(
    config: DictConfig,
    overrides: str,
    progress: Callable[[str, float], None],
    waiting: Callable[[bool], None] = lambda is_waiting: None,
    sweep: Path | None = None,
) -> Kept:
    """Measures one configuration and stores what came of it.

    Args:
        config: the configuration.
        overrides: what repeats it, as typed in a shell.
        progress: told what is being done, and the share of the whole that is done.
        waiting: told True when another process measures on the device, and False when it is over.
        sweep: the folder of the sweep that this is a job of, where its jobs share what they know of the machine.

    Raises:
        UsageError: if the configuration cannot be.
    """
    wanted = question(config)
    asked, sizes = wanted.asked, wanted.sizes
    if blocks.choose(sizes):
        forget()
    backend, device_kind = backend_and_kind()
    budget = Budget.of(_free_bytes(), config.memory.budget_gb)
    calls = asked.calls(config.kernel.ops)
    if "step" in config.kernel.ops:
        calls |= asked.steps(depths(asked, budget.total_bytes - FAR_BYTES))
    draw = _drawing(config.weights, calls)
    if not calls:
        raise nothing_called(config, asked)
    store = Store(config.results)
    store.check_writable()
    is_gpu = backend == "gpu"
    timer = choose_timer(wanted.timer, backend, device_timer)
    if timer.note:
        warn(f"{timer.note}; the host's clock is used")
    here = hosts.fingerprint(backend=backend, device_kind=device_kind, timer=timer.name if timer.on_device else "")
    caches = gpu.cache_bytes(device_kind) if is_gpu else here.cache_bytes
    if config.compile_cache and (folder := programs_folder(here.machine_key)):
        keep_programs_in(folder)
    this_run = Run.start(config_hash=config_hash(config), overrides=overrides)
    device = Device(device_name(backend), waiting)
    chosen_calls, passed_over = _implementations(calls, config.implementation, config.peers, backend)
    before, complaint = _usual(store, here.key)

    spent = Spent()
    # On a CPU whatever computes is in the way of who measures; on a GPU only what runs there is.
    aside = device.shared if backend == "cpu" else nullcontext
    on_host, on_device = both(aside, spent.proving), both(device.shared, spent.proving)
    measuring = both(device.alone, spent.measuring)
    progress("measuring this machine's ceilings", 0.0)
    shelf = Shelf(sweep, here.key) if sweep else None
    limits = measure_limits(
        backend, caches, MEASURED_FORMATS, budget, timer, shelf=shelf, shared=device.shared, alone=device.alone, spent=spent
    )
    machine = Machine(
        backend=backend,
        budget=budget,
        limits=limits,
        usual_read_gbs=before.read_gbs,
        usual_multiply_add_gflops=before.multiply_add_gflops,
        usual_core_turns_per_us=before.core_turns_per_us,
        timer=timer,
    )
    if sweep is None:
        print(f"\n  {_memory_use(chosen_calls, machine, wanted.residency)}")
    to_record = recorder(asked, calls, this_run, here, limits, timer.note, _device_figures if is_gpu else dict, sizes)
    records = [to_record(result) for result in passed_over]
    try:
        for result in session.run(
            chosen_calls,
            machine,
            wanted.stopping,
            residency=wanted.residency,
            seed=config.seed,
            progress=progress,
            draw=draw,
            drawing=aside,
            on_host=on_host,
            on_device=on_device,
            measuring=measuring,
        ):
            records.append(to_record(result))
    finally:
        # Whatever ends a run early, what was finished is kept.
        with aside():
            store.append(records)
    with aside():
        store.compact(at_least=MANY_FILES)
    return Kept(asked, this_run.run_id, records, store.folder, complaint, spent)


def _free_bytes() -> float:
    """Memory for operands: they are drawn and checked on the host, and run on the device."""
    on_device = free_device_bytes()
    return free_bytes() if on_device is None else min(free_bytes(), on_device)


def _memory_use(calls: Sequence[tuple[Workload, Implementation]], machine: Machine, residency: Residency) -> str:
    """What a measurement will hold, in words."""
    needed = session.needed(machine, residency)
    probes = machine.limits.probe_bytes
    held = [call for call in calls if machine.budget.refusal(needed(call), probes) is None]
    most = max((sum(map(needed, batch)) for batch in session.batches(held, machine, residency)), default=0.0)
    return machine.budget.use(probes, most)


def _device_figures() -> dict[str, float]:
    state = gpu_state(device_number())
    return state.figures() if state else {}


@cache
def _usual(store: Store, host_key: str) -> tuple[Usual, str]:
    """Once per process: what was usual before a sweep does not change with it, and the store grows."""
    return usual(store, host_key)


def _implementations(
    calls: Mapping[Workload, Sequence[Need]], choice: str, peers: str, backend: str
) -> tuple[list[tuple[Workload, Implementation]], list[Result]]:
    """Pairs to measure, and a result with its reason for each implementation that was passed over."""
    pairs: list[tuple[Workload, Implementation]] = []
    passed_over: list[Result] = []
    for workload in calls:
        for able, refused in (
            chosen_implementations(workload, choice, backend),
            chosen_peers(workload, peers, backend),
        ):
            pairs += [(workload, one) for one in able]
            passed_over += [Result(workload, name, "unsupported", reason) for name, reason in refused.items()]
    known = {"none", "all"} | {
        one.name.partition(".")[2] for workload in calls for one, _ in supported(workload, backend, peers=True)
    }
    if peers not in known:
        raise UsageError(f"peers must be one of {', '.join(sorted(known))} for these kernels; got {peers!r}")
    if not pairs:
        reasons = "; ".join(dict.fromkeys(f"{result.implementation}: {result.reason}" for result in passed_over))
        raise UsageError(f"implementation must be one that can compute these kernels; got {choice!r}: {reasons}")
    return pairs, passed_over


def _drawing(weights: str | None, calls: Iterable[Workload]) -> Draw:
    """What makes operands: a seed, and for a whole step the user's own weights where there are some."""
    if weights is None:
        return check.draw
    steps = [call for call in calls if isinstance(call, DecodeStep)]
    if not steps:
        raise UsageError(f"weights must be null unless the whole step of a decoder is measured (kernel=step); got {weights!r}")
    folder = Path(weights).expanduser()
    try:
        checkpoint = Checkpoint(folder)
        for step in steps:
            checkpoint.check(step)
    except ValueError as error:
        raise UsageError(str(error)) from None
    for difference in differences(folder):
        warn(f"the model's {difference}: times are the model's, tokens would not be")

    def draw(workload: Workload, seed: int) -> Mapping[str, Any]:
        drawn = check.draw(workload, seed)
        return drawn | checkpoint.read(workload) if isinstance(workload, DecodeStep) else drawn

    return draw
