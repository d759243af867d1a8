"""What a comparison found: suspicions followed up with fresh processes, and everything said of each kernel."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .pair import Estimate, Quad, Side
from .trial import Bench, Key, NotComparableError, Trial, is_fine, is_sound
from .verdict import Ruling, Verdict, exact_changes, exit_code, looked_again, settled

FIRST_SHARE = 1 / 3
"""Of the time, for the look at everything; what is left is for what may have changed, which is less."""

Condition = Literal["newly wrong", "mended", "not measured", "missing", "new"]


@dataclass(frozen=True)
class Remark:
    """A kernel of which no times can be compared.

    Attributes:
        condition: in a word or two. Missing kernels are the base's alone, new ones the head's.
        reason: in words.
    """

    kernel: str
    condition: Condition
    reason: str


@dataclass(frozen=True)
class ExactChange:
    """A quantity that is the same however often it is asked for, and differs between the revisions."""

    kernel: str
    quantity: str
    base: float
    head: float


@dataclass(frozen=True)
class Comparison:
    """Two revisions held against each other.

    Attributes:
        base, head: names of the revisions.
        verdicts: on each quantity of each kernel that both sides have.
        remarks: on the other kernels.
        exact_changes: in XLA's counts and the peak memory.
        changed_code: kernel -> names of both sides' implementations, where they differ.
        software: Python, JAX and backend of each side.
        seconds: that it took.
        quads: the samples of the first look.
        code: kernel -> name of the head's implementation.
    """

    base: str
    head: str
    verdicts: Mapping[Key, Verdict]
    remarks: Sequence[Remark]
    exact_changes: Sequence[ExactChange]
    changed_code: Mapping[str, tuple[str, str]]
    software: Mapping[Side, Mapping[str, str]]
    seconds: float
    quads: Mapping[Key, Sequence[Quad]] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)

    def beside(self, other: Comparison) -> Comparison:
        """Both as one, of the same two revisions."""
        return replace(
            self,
            verdicts={**self.verdicts, **other.verdicts},
            remarks=[*self.remarks, *other.remarks],
            exact_changes=[*self.exact_changes, *other.exact_changes],
            changed_code={**self.changed_code, **other.changed_code},
            software={side: {**other.software[side], **self.software[side]} for side in self.software},
            seconds=self.seconds + other.seconds,
            quads={**self.quads, **other.quads},
            code={**self.code, **other.code},
        )

    def exit_code(self, *, inconclusive_fails: bool) -> int:
        """What the gate ends with."""
        newly_wrong = any(one.condition == "newly wrong" for one in self.remarks)
        rulings: list[Ruling] = [one.ruling for one in self.verdicts.values()]
        return exit_code(rulings, newly_wrong=newly_wrong, inconclusive_fails=inconclusive_fails)


def compare(bench: Bench, budget_s: float) -> Comparison:
    """Looks once at everything, and again, in fresh processes, at what seems to have changed.

    Raises:
        NotComparableError: if a revision, or every kernel, cannot be measured.
    """
    start = time.monotonic()
    end = start + budget_s
    first = bench.run(start + FIRST_SHARE * budget_s)
    estimates = first.estimates
    remarks = _remarks(first)
    if not estimates and all(one.condition == "not measured" for one in remarks):
        raise NotComparableError(f"no kernel could be timed in both revisions: {remarks[0].kernel}: {remarks[0].reason}")
    # Another pair says more than more quads of this one.
    shorter = replace(bench, effort=replace(bench.effort, most_quads=bench.effort.least_quads))

    def look(wanted: Sequence[Key], seconds: float) -> Mapping[Key, Estimate]:
        bench.progress(f"looking again at {len(wanted)} that may have changed, in fresh processes")
        trial = shorter.run(time.monotonic() + seconds, only=wanted)
        known = {one.kernel for one in remarks}
        remarks.extend(one for one in _remarks(trial) if one.condition == "newly wrong" and one.kernel not in known)
        return trial.estimates

    verdicts = settled(estimates, looked_again(estimates, bench.policy, end, look), bench.policy)
    return Comparison(
        base=bench.revisions["base"].name,
        head=bench.revisions["head"].name,
        verdicts={key: verdict for key, verdict in verdicts.items() if key[0] not in {one.kernel for one in remarks}},
        remarks=remarks,
        exact_changes=list(_exact(first)),
        changed_code=_changed_code(first),
        software=first.hosts,
        seconds=time.monotonic() - start,
        quads=first.quads,
        code={name: one["head"]["implementation"] for name, one in first.prepared.items() if "head" in one},
    )


def _remarks(trial: Trial) -> list[Remark]:
    timed = {name for name, _ in trial.estimates}
    remarks = []
    for name, answers in trial.prepared.items():
        if found := _condition(answers):
            remarks.append(Remark(name, *found))
        elif name not in timed:
            remarks.append(Remark(name, "not measured", "nothing came of it"))
    return remarks


def _condition(answers: Mapping[Side, Mapping[str, Any]]) -> tuple[Condition, str] | None:
    base, head = answers.get("base"), answers.get("head")
    if head is None or head["status"] == "unsupported":
        return "missing", head["reason"] if head else "the base alone asks for it"
    if base is None or base["status"] == "unsupported":
        return "new", base["reason"] if base else "the head alone asks for it"
    if is_fine(base) and not is_fine(head):
        return "newly wrong", f"{head['status']}: {head['reason']}"
    if is_fine(head) and not is_fine(base):
        return "mended", f"the base is {base['status']}: {base['reason']}"
    if not is_fine(base):
        return "not measured", f"{base['status']} in both: {base['reason']}"
    return None


def _exact(trial: Trial) -> list[ExactChange]:
    return [
        ExactChange(name, quantity, *values)
        for name, answers in trial.prepared.items()
        if len(answers) == 2
        for quantity, values in exact_changes(answers["base"]["exact"], answers["head"]["exact"]).items()
    ]


def _changed_code(trial: Trial) -> dict[str, tuple[str, str]]:
    both = {name: answers for name, answers in trial.prepared.items() if len(answers) == 2 and is_sound(answers)}
    names = {name: (one["base"]["implementation"], one["head"]["implementation"]) for name, one in both.items()}
    return {name: pair for name, pair in names.items() if pair[0] != pair[1]}
