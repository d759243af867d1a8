"""`roofcast gate`: whether the head makes any kernel slower than the base, or wrong."""

from __future__ import annotations

import functools
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from ...kernels.step import DecodeStep
from ..config.overrides import as_typed, of_job
from ..errors import UsageError, chosen
from ..history.verdicts import verdicts
from ..host.host import fingerprint
from ..host.memory import free_bytes
from ..predict.whole import depths
from ..report.output import checked
from ..report.progress import Progress
from ..report.table import show
from ..shown import escaped, warn
from ..steps.plan import POOL_SHARE, Plan, plan
from ..store.record import Run
from . import report
from .baseline import Baseline, Capture, Shelf, Terms, check_name, terms
from .checkout import Revision, commit_named, is_still, overlooked, side_by_side, top_of
from .environment import LOCKS, SUITE_LOCKS, environments
from .judge import Comparison, compare
from .kept import judged
from .pair import Side
from .process import Process, cores_but
from .recalled import DisagreeError, Recalled, agreeing, beside_ceilings
from .runs import are_runs, compare_runs
from .trial import Bench, Effort, NotComparableError, Trial, is_sound
from .verdict import INCONCLUSIVE, NOT_COMPARABLE, NOTHING_SLOWER, Policy


def run(config: DictConfig) -> int:
    """Compares and shows. Returns 0, 1, 2 or 3 as `verdict` defines them."""
    output = checked(config.output, report.SUFFIXES)
    try:
        if config.save is not None:
            return _saved(config)
        if are_runs(config.base) or are_runs(config.head):
            found, note = compare_runs(config.base, config.head, policy_of(config)), ""
        elif _is_baseline(config):
            found, note = _recalled(config)
        else:
            found, note = _measured(config)
    except NotComparableError as error:
        warn(f"not comparable: {error}")
        return NOT_COMPARABLE
    code = found.exit_code(inconclusive_fails=config.inconclusive_fails)
    for table in report.tables(found):
        show(table)
    print(f"\n  {escaped(report.headline(found))}")
    if note:
        print(f"  {note}")
    if output:
        report.write(found, code, output)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        report.summarize(report.as_markdown(found), Path(summary))
    return code


def _words(field: str, given: str | None) -> list[str]:
    try:
        return shlex.split(given or "")
    except ValueError as error:
        raise UsageError(f"{field} must be words as a shell takes them; got {given!r}: {error}") from None


def _measured(config: DictConfig) -> tuple[Comparison, str]:
    """Two revisions, measured here and now, and a word on what was kept."""
    suite, also = _words("suite", config.suite), _words("also", config.also)
    if suite and also:
        raise UsageError(f"also must be null where suite is given: it comes besides the kernels; got {config.also!r}")
    policy, is_own = policy_of(config), chosen("harness", config.harness, ("gate", "own")) == "own"
    asked: list[tuple[Sequence[str], dict[str, Any]]] = []
    if not suite:
        asked.append(((), question_of(config)))
        # Nobody should measure for minutes and then not be able to keep what came of it.
        verdicts(config.results).check_writable()
    if suite or also:
        asked.append((suite or also, _suite_question(config.suite or config.also)))
    if note := overlooked(config.head, Path.cwd(), any_project=bool(suite)):
        warn(note)
    end = time.monotonic() + config.budget_s
    with (
        side_by_side(config.base, config.head, Path.cwd(), any_project=bool(suite)) as (base, head, folder),
        Progress() as shown,
    ):

        def progress(what: str) -> None:
            shown(what, 0.0)

        revisions: Mapping[Side, Revision] = {"base": base, "head": head}
        found: list[Comparison] = []
        with environments(revisions, SUITE_LOCKS if suite or also else LOCKS, progress) as runnable:
            rng = np.random.default_rng(config.seed)
            for place, (words, question) in enumerate(asked):
                start = functools.partial(Process, suite=words, cores=cores_of(config), own_harness=is_own)
                effort = effort_of(config, is_suite=bool(words))
                bench = Bench(runnable, folder, question, policy, effort, rng, progress, start)
                found.append(compare(bench, (end - time.monotonic()) / (len(asked) - place)))
        note = "" if suite else _kept(config, found[0], base.commit, head)
        return functools.reduce(Comparison.beside, found), note


def _kept(config: DictConfig, found: Comparison, base_commit: str, head: Revision) -> str:
    """Adds what was found to the history, unless what was measured is no commit, and says so."""
    if not is_still(head):
        return "not kept in the history: the working tree has changes that are not committed"
    run = Run.start(overrides=as_typed(of_job()))
    records = list(judged(found, (base_commit, head.commit), config.residency, run, fingerprint()))
    place = verdicts(config.results)
    place.append(records)
    return f"{len(records)} verdict{'s' * (len(records) != 1)} kept in {place.folder}"


def _saved(config: DictConfig) -> int:
    """Captures the head and keeps it as a baseline."""
    check_name(config.save)
    if commit_named(top_of(Path.cwd()), config.save):
        raise UsageError(f"save must be a name that no commit, branch or tag has; got {config.save!r}")
    if config.suite or config.base or config.output:
        raise UsageError("save must be given without base, suite and output: a baseline is a file of one revision's kernels")
    with _beside_ceilings(config, "the machine's ceilings") as (bench, now):
        try:
            first, second = agreeing(bench, config.budget_s)
        except DisagreeError as error:
            warn(f"nothing was saved: {error}")
            return INCONCLUSIVE
    baseline = Baseline(
        bench.revisions["head"].name,
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        now,
        second.hosts["head"],
        {name: answers["head"] for name, answers in second.prepared.items() if "head" in answers},
        (_capture(first), _capture(second)),
    )
    path = _shelf(config).put(config.save, baseline)
    print(f"{path}: {len(baseline.captures[1])} kernels of {baseline.revision}, in two captures that agree")
    return NOTHING_SLOWER


def _capture(trial: Trial) -> Capture:
    return {name: quads for (name, _), quads in trial.quads.items() if quads and is_sound(trial.prepared[name])}


def _recalled(config: DictConfig) -> tuple[Comparison, str]:
    """A head, measured here and now, against a baseline, and a word on what was kept."""
    verdicts(config.results).check_writable()
    with _beside_ceilings(config, f"baseline {config.base}") as (bench, now):
        baseline = _shelf(config).get(config.base, now)
        name = f"baseline {config.base} ({baseline.revision}, {baseline.saved})"
        found = replace(compare(Recalled(**vars(bench), baseline=baseline), config.budget_s), base=name)
        return found, _kept(config, found, "", bench.revisions["head"])


@contextmanager
def _beside_ceilings(config: DictConfig, name: str) -> Iterator[tuple[Bench, Terms]]:
    """The head beside the machine's ceilings, and the terms of what is measured of it."""
    if config.also or config.harness != "gate":
        raise UsageError("also and harness must not be given with a baseline, which is one of kernels by the gate's own code")
    question, effort = question_of(config), replace(effort_of(config), compile_pairs=0)
    if note := overlooked(config.head, Path.cwd()):
        warn(note)
    with side_by_side("HEAD", config.head, Path.cwd()) as (_, head, folder), Progress() as shown:
        revisions, start = beside_ceilings(head, name, cores_of(config))
        rng = np.random.default_rng(config.seed)
        bench = Bench(revisions, folder, question, policy_of(config), effort, rng, lambda what: shown(what, 0.0), start)
        yield bench, terms(fingerprint(), question, head.folder)


def _is_baseline(config: DictConfig) -> bool:
    """Whether base is a baseline's name and none of git's."""
    if not config.base or config.suite or not _shelf(config).has(config.base):
        return False
    return not commit_named(top_of(Path.cwd()), config.base)


def _shelf(config: DictConfig) -> Shelf:
    return Shelf(Path(config.results) / "baselines")


def question_of(config: DictConfig) -> dict[str, Any]:
    """What the workers are asked, in what JSON can say.

    Raises:
        UsageError: for kernels that cannot be asked for.
    """
    parts = OmegaConf.to_container(config, resolve=True)
    assert isinstance(parts, dict)
    asked = {name: parts[name] for name in ("model", "format", "context", "sampling", "fused")}
    asked |= {"device": None, "devices": 1, "targets": []}
    ops = list(config.kernel.ops)
    step = plan(OmegaConf.create(asked))
    # Each of two processes holds its own copy of everything.
    each_bytes = free_bytes() / 2
    calls, layers = step.calls(ops), None
    if DecodeStep.op in ops:
        try:
            layers = _layers(step, each_bytes)
        except UsageError as error:
            if not calls:
                raise
            warn(f"the whole step is left out: {error}")
    if not calls and layers is None:
        raise UsageError(f"kernel must be an op that {step.step.model.name} calls; got {', '.join(ops)}")
    return {
        "plan": asked,
        "ops": ops,
        "layers": layers,
        "implementation": config.implementation,
        "residency": chosen("residency", config.residency, ("cold", "warm")),
        "seed": _from(config, "seed", 0),
        "cores": len(cores_of(config)),
        "free_bytes": each_bytes,
    }


def _layers(asked: Plan, free_bytes: float) -> int:
    """Layers of the copy of the model whose whole step is compared: as many as fit, for one shows what all would.

    Raises:
        UsageError: if not even the smallest copy fits, or the model has a part that no step is composed of.
    """
    room = POOL_SHARE * free_bytes
    layers, needed = 0, 0.0
    for layers in reversed(depths(asked, room)):
        (step,) = asked.steps((layers,))
        needed = sum(tensor.nbytes for tensor in step.operands().values())
        if needed <= room:
            return layers
    free = f"{needed / 1e9:.1f} GB for each revision, of which {room / 1e9:.1f} GB fit"
    raise UsageError(
        f"kernel must be ops whose operands fit in memory twice; got step: {layers} layer{'s' * (layers != 1)} take {free}"
    )


def _suite_question(suite: str) -> dict[str, Any]:
    """Likewise of a suite of pytest-benchmark."""
    return {"suite": suite, "checkout": str(top_of(Path.cwd(), any_project=True)), "free_bytes": 0.0}


def policy_of(config: DictConfig) -> Policy:
    """What counts as a difference.

    Raises:
        UsageError: for a number out of range.
    """
    for name in ("least", "least_compile", "false_discovery"):
        if not 0 < config[name] < 1:
            raise UsageError(f"{name} must be a number above 0 and below 1; got {config[name]}")
    least = _from(config, "confirmations", 1)
    most = _from(config, "most_confirmations", least)
    return Policy(config.least, config.least_compile, config.false_discovery, least, most)


def effort_of(config: DictConfig, *, is_suite: bool = False) -> Effort:
    """How much is measured.

    Raises:
        UsageError: for a number out of range.
    """
    for name in ("budget_s", "kernel_limit_s"):
        if not 0 < config[name] < float("inf"):
            raise UsageError(f"{name} must be a number of seconds above 0; got {config[name]}")
    least = _from(config, "least_quads", 1)
    # A suite says itself what of its compiling it times.
    pairs = 0 if is_suite else _from(config, "compile_pairs", 0)
    return Effort(least, _from(config, "most_quads", least), pairs, config.kernel_limit_s)


def cores_of(config: DictConfig) -> tuple[int, ...]:
    """Cores that the measured processes run on.

    Raises:
        UsageError: for a number out of range.
    """
    return cores_but(_from(config, "spare_cores", 0))


def _from(config: DictConfig, name: str, least: int) -> int:
    if config[name] < least:
        raise UsageError(f"{name} must be a whole number from {least}; got {config[name]}")
    return config[name]
