"""How a command ends: exit codes, the sentence on standard error, and silence where nobody reads."""

from __future__ import annotations

from ..shown import warn

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done; something measured or read was wrong; the command could not be understood or obeyed; Ctrl-C."""
_GATE_USAGE = 4
"""The last of these from the gate, whose 2 says that it is inconclusive."""


class NobodyReadsError(BaseException):
    """The reader of the output has gone. Hydra reports whatever is an Exception, and there is nobody to report to."""


def complain(sentence: str, verb: str = "") -> int:
    """Says on standard error what was wrong, and returns the verb's exit code for that."""
    warn(sentence)
    return _GATE_USAGE if verb.startswith("gate") else USAGE


def typed(verb: str) -> str:
    """A verb as it is typed: two words have a space between them."""
    return verb.replace("_", " ")
