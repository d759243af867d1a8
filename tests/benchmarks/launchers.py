"""What kernels reach of their ceiling in sweeps through Hydra's own launcher and through parallel ones, by turns.

    .venv/bin/python tests/benchmarks/launchers.py [--rounds 10] [--launchers processes,submitit,ray_cluster] [key=value ...]

It takes the launchers that are installed (extras joblib, submitit and ray), and needs an otherwise idle machine.

A virtual machine's memory may read at 31 GB/s for seconds and then at 50, and a kernel's code uses more of the slow memory than
of the fast. A core has speeds too, where somebody else's work shares it. So each sample is compared with those samples of the
serial sweeps beside which the probe that the kernel follows, of the memory or of the core, had the same speed.

A launcher that slows a kernel moves both the median and the fastest tenth. The worst sweep is shown too, for what is timed
wrongly once in ten sweeps moves neither.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from roofcast.harness.measure.statistics import Interval, median_interval
from roofcast.harness.report.table import Column, Table, show
from roofcast.harness.store.store import Store

SERIAL = "basic"
SWEEP = ("model=gpt2", "kernel=gemv,attention,norm", "context=512,1024")
SHORT = ("timing=quick", "timing.budget_s=2.5", "timing.min_samples=8", "timing.precision=0.02")
KEYS = {
    "processes": ("hydra.launcher.n_jobs=2",),
    "ray_cluster": ("+hydra.launcher.ray.init.num_cpus=2", "+hydra.launcher.ray.init.include_dashboard=false"),
}
SAME_SPEED = 1.2
"""Probes at rates within this factor of each other had one speed."""
FEW = 5
"""Fewer samples of a sweep at one speed say nothing."""
WANTED = 0.1
WORST = 1 / 3
"""A sweep whose best tenth reached less of the serial ones' met no slow core: that takes twice as long."""
PLUGINS = {"processes": "hydra_joblib_launcher", "submitit": "hydra_submitit_launcher", "ray_cluster": "hydra_ray_launcher"}

Samples = tuple[np.ndarray, np.ndarray]
"""Rates of the probe that a kernel follows, and what it reached of them: in units of its own, which cancel."""
Kernel = tuple[str, int]


def main(arguments: Sequence[str]) -> int:
    """Shows how launchers compare. Returns 0 if each kernel is within a tenth of the serial one, and no sweep far off."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10, help="sweeps of each launcher")
    there = [launcher for launcher, plugin in PLUGINS.items() if find_spec(f"hydra_plugins.{plugin}")]
    parser.add_argument("--launchers", type=lambda names: names.split(","), default=there, help="names with commas between")
    parser.add_argument("--folder", type=Path, help="that keeps the measurements, not done again by this code")
    parser.add_argument("keys", nargs="*", default=[*SWEEP, *SHORT], help="of roofcast bench -m")
    asked = parser.parse_args(arguments)
    found: dict[str, list[Mapping[Kernel, Samples]]] = defaultdict(list)
    turns = [SERIAL, *asked.launchers]
    with nullcontext(asked.folder) if asked.folder else tempfile.TemporaryDirectory() as folder:
        for number in range(asked.rounds):
            for launcher in random.Random(number).sample(turns, len(turns)):
                results = Path(folder, f"{number}-{launcher}").resolve()
                swept(launcher, asked.keys, results)
                found[launcher].append(samples(results))
    rows, far = compared(found, asked.launchers)
    columns = [Column("kernel", text=True), Column("context"), Column("serial sweeps")]
    title = "Fractions of the ceiling over the serial ones: median, and in brackets the fastest tenth's, and the worst sweep's"
    show(Table(title, [*columns, *map(Column, asked.launchers)], rows))
    return int(bool(far))


def swept(launcher: str, keys: Sequence[str], results: Path) -> None:
    """One sweep, with a store of its own, unless it was done."""
    results.mkdir(parents=True, exist_ok=True)
    chosen = (f"hydra/launcher={launcher}", *KEYS.get(launcher, ()))
    # Numbers of threads are the machine's, whatever this shell limits.
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = (sys.executable, "-m", "roofcast.harness", "bench", "-m", *keys, *chosen, f"results={results}")
    # What a sweep did not measure is counted against it; the other sweeps stay.
    subprocess.run(command, check=False, env=environment, cwd=results, stdout=subprocess.DEVNULL)
    print(f"{results.name}: done", file=sys.stderr, flush=True)


def samples(results: Path) -> dict[Kernel, Samples]:
    """Of each kernel of a sweep."""
    said: dict[Kernel, Samples] = {}
    for one in Store(results).read("status = 'ok'").found:
        timing, statistics = one.timing, one.statistics
        if timing is not None and statistics is not None:
            waits = statistics.bound == "latency" and timing.core_probe_turns_per_us
            rates = np.asarray(timing.core_probe_turns_per_us if waits else timing.read_probe_gbs)
            said[one.subject.label, one.subject.context] = rates, 1 / (rates * np.asarray(timing.samples_us))
    return said


def relative(mine: Samples, serial: Samples) -> Iterator[float]:
    """The median of a sweep over that of the serial sweeps, at each speed that the probe had in both."""
    speeds = [np.round(np.log(rates) / np.log(SAME_SPEED)) for rates, _ in (mine, serial)]
    for speed in np.unique(speeds[0]):
        beside = [reached[of == speed] for of, (_, reached) in zip(speeds, (mine, serial), strict=True)]
        if min(map(len, beside)) >= FEW:
            yield float(np.median(beside[0]) / np.median(beside[1]))


def fastest(sweeps: Sequence[Samples]) -> float:
    """One over the time within which a tenth of all samples ended."""
    return float(np.quantile(np.concatenate([rates * reached for rates, reached in sweeps]), 0.9))


def compared(found: Mapping[str, Sequence[Mapping[Kernel, Samples]]], launchers: Sequence[str]) -> tuple[list[list[str]], int]:
    """A row of cells per kernel, and how often a launcher seems to slow a kernel or to speed it up, or has none of it."""
    rows, far = [], 0
    for kernel in sorted(set().union(*found[SERIAL])):
        serial = [one[kernel] for one in found[SERIAL] if kernel in one]
        rates, reached = map(np.concatenate, zip(*serial, strict=True))
        row = [kernel[0], f"{kernel[1]:,}"]
        for launcher in (SERIAL, *launchers):
            mine = [one[kernel] for one in found[launcher] if kernel in one]
            ratios = [ratio for sweep in mine for ratio in relative(sweep, (rates, reached))]
            if ratios:
                interval, best = median_interval(np.asarray(ratios)), fastest(mine) / fastest(serial)
                worst = min(np.quantile(one, 0.9) for _, one in mine) / np.quantile(reached, 0.9)
                row.append(f"{words(interval, len(ratios))} [{best:.2f}, {worst:.2f}]")
                is_far = min(abs(interval.point - 1), abs(best - 1)) > WANTED or worst < WORST
            else:
                row.append("none")
                is_far = True
            far += is_far or len(mine) < len(found[launcher])
        rows.append(row)
    return rows, far


def words(interval: Interval, count: int) -> str:
    """A median and its interval."""
    return f"{interval.point:.2f} ({interval.low:.2f} to {interval.high:.2f}, n={count})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
