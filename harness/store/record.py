"""The record of one measurement: what was measured, whether it was right, what it cost, how long it took, and where.

Everything that the program keeps, shows, calibrates on or compares is a `Measurement`. One is one row of the store;
each field is one column under the field's own name, so the names are unique over all parts. A field that is added
later needs a default, which is what older rows then say, and raises `SCHEMA_VERSION`.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal

from ...kernels.model import Step
from ...kernels.op import Need, Workload, is_peer
from ...kernels.registry import workload_from
from ..files.columns import Columns, columns, flatten, unflatten
from ..host.host import Host
from ..host.provenance import Checkout, checkout, version_of
from .figures import Ceilings, Compilation, Statistics, Timing, Work

__all__ = [
    "SCHEMA_VERSION",
    "Ceilings",
    "Compilation",
    "Host",
    "Measurement",
    "Outcome",
    "Run",
    "Statistics",
    "Status",
    "Stored",
    "Subject",
    "Timing",
    "Work",
    "from_row",
    "new_id",
    "schema",
    "to_row",
    "utc_now",
]

SCHEMA_VERSION = 5

Status = Literal["ok", "wrong", "refused", "unsupported", "failed"]


def new_id() -> str:
    """A fresh identifier: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def utc_now() -> str:
    """The time as ISO 8601 text in UTC with microseconds, which sorts as it passes."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True, kw_only=True)
class Run(Columns):
    """One start of the program; its measurements share this.

    Attributes:
        run_id: 32 hexadecimal digits.
        roofcast_version: version of the installed package.
        git_commit: full hash of the checkout, "" where the package is not a checkout.
        git_dirty: tracked files of the checkout differed from that commit.
        config_hash: hash of the resolved configuration.
        overrides: the overrides that reproduce it, as they stand on a command line.
        schema_version: of the record itself.
    """

    run_id: str = field(default_factory=new_id)
    roofcast_version: str
    git_commit: str = ""
    git_dirty: bool = False
    config_hash: str = ""
    overrides: str = ""
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def start(cls, *, config_hash: str = "", overrides: str = "") -> Run:
        """A new run of the code that is installed here."""
        code = _code()
        return cls(
            roofcast_version=version_of("roofcast"),
            git_commit=code.commit,
            git_dirty=code.dirty,
            config_hash=config_hash,
            overrides=overrides,
        )


@cache
def _code() -> Checkout:
    """Once per process: what runs is what was there when it was imported, and asking takes a tenth of a second."""
    return checkout()


@dataclass(frozen=True, kw_only=True)
class Subject(Columns):
    """What was measured: one call, the code that computed it, and its place in a decode step.

    Attributes:
        op: name of the op.
        label: the call in a few characters.
        axes: `Workload.axes()` as JSON text.
        implementation: `file.function`, unique within the op.
        role: what the call does in the model (`qkv`, `ffn_down`); several are joined by "+"; "" outside a model.
        model: name of the model, "" outside a model.
        context: tokens attended to; 0 outside a model.
        weight_format, kv_format, activation_format: number formats of the step, "" outside a model.
        count_per_token: calls that one token needs, over all roles; 0 outside a model.
    """

    op: str
    label: str
    axes: str
    implementation: str
    role: str = ""
    model: str = ""
    context: int = 0
    weight_format: str = ""
    kv_format: str = ""
    activation_format: str = ""
    count_per_token: int = 0

    @classmethod
    def of(cls, workload: Workload, implementation: str, step: Step | None = None, needs: Sequence[Need] = ()) -> Subject:
        """A call as the `needs` of a `step` ask for it, or on its own."""
        call: dict[str, Any] = {
            "op": workload.op,
            "label": workload.label,
            "axes": json.dumps(workload.axes(), sort_keys=True),
            "implementation": implementation,
            "role": "+".join(dict.fromkeys(need.role for need in needs)),
            "count_per_token": sum(need.count for need in needs),
        }
        if step is not None:
            call |= {
                "model": step.model.name,
                "context": step.context,
                "weight_format": step.formats.weight,
                "kv_format": step.formats.kv,
                "activation_format": step.formats.activation,
            }
        return cls(**call)

    @property
    def is_peer(self) -> bool:
        """Whether another library computed it."""
        return is_peer(self.implementation)

    @property
    def workload(self) -> Workload:
        """The call itself.

        Raises:
            KeyError: if this version of the program has no such op.
        """
        return workload_from(self.op, json.loads(self.axes))


@dataclass(frozen=True, kw_only=True)
class Outcome(Columns):
    """How it ended.

    Attributes:
        status: `ok`; `wrong`, the results are not the reference's; `refused`, the samples are impossible;
            `unsupported`, the implementation does not take this call; `failed`, it raised an error.
        reason: why it is not `ok`, in words; "" if it is.
        error: ||out - reference|| / ||reference||, the largest over the results; None where nothing was computed,
            infinity where a result is not finite (NaN is taken for it).
        tolerance: largest error that is accepted.
    """

    status: Status
    reason: str = ""
    error: float | None = None
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if self.error is not None and math.isnan(self.error):
            object.__setattr__(self, "error", math.inf)
        super().__post_init__()
        if (self.status == "ok") != (self.reason == ""):
            raise ValueError(f"reason must be given if and only if status is not 'ok'; got {self.status!r}, {self.reason!r}")

    @classmethod
    def judged(cls, error: float, tolerance: float) -> Outcome:
        """`ok` or `wrong`, by the error against the float64 reference."""
        if error <= tolerance:
            return cls(status="ok", error=error, tolerance=tolerance)
        reason = f"the relative error against the float64 reference is {error:.3g}, more than {tolerance:.3g}"
        return cls(status="wrong", reason=reason, error=error, tolerance=tolerance)


@dataclass(frozen=True, kw_only=True)
class Stored(Columns):
    """What every record has.

    Attributes:
        record_id: 32 hexadecimal digits, unique over all records anywhere.
        started_at: ISO 8601 time in UTC.
        run: that made it.
    """

    record_id: str = field(default_factory=new_id)
    started_at: str
    run: Run


@dataclass(frozen=True, kw_only=True)
class Measurement(Stored):
    """One measurement. A call that was not computed right has no time: such a record cannot be made.

    Attributes:
        subject, outcome, work, host: see there.
        compilation: None if the call was not compiled, as another library's never is.
        timing: None unless the status is `ok`, or `refused`, whose samples are kept as evidence.
        statistics: None unless the status is `ok`.
        ceilings: None if they were not measured.

    Raises:
        ValueError: if status, timing and statistics contradict each other.
    """

    subject: Subject
    outcome: Outcome
    work: Work
    compilation: Compilation | None = None
    timing: Timing | None = None
    statistics: Statistics | None = None
    ceilings: Ceilings | None = None
    host: Host

    def __post_init__(self) -> None:
        super().__post_init__()
        status = self.outcome.status
        # Another library compiles nothing that we see.
        parts = ("timing", "statistics", "ceilings", *(() if self.subject.is_peer else ("compilation",)))
        if status == "ok" and (missing := [name for name in parts if getattr(self, name) is None]):
            raise ValueError(f"a measurement with status 'ok' must have {', '.join(missing)}")
        if status == "ok" and self.timing is not None and not self.timing.samples_us:
            raise ValueError("a measurement with status 'ok' must have samples_us")
        if status != "ok" and self.statistics is not None:
            raise ValueError(f"a measurement with status {status!r} must not have statistics: it has no latency")
        if status not in ("ok", "refused") and self.timing is not None:
            raise ValueError(f"a measurement with status {status!r} must not have a timing")


def schema() -> dict[str, str]:
    """Column -> SQL type of a stored measurement."""
    return columns(Measurement)


def to_row(record: Measurement) -> dict[str, Any]:
    """One flat row; an absent part leaves its columns None."""
    return flatten(record)


def from_row(row: Mapping[str, Any]) -> Measurement:
    """The measurement of a stored row, of this or an earlier schema.

    Raises:
        ValueError: if a column that has always been there is missing, or the row says what cannot be.
    """
    return unflatten(Measurement, row)
