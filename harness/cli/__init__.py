"""The command `roofcast VERB [overrides]`, from the words that were typed to the exit code."""

from .command import FAILED, INTERRUPTED, OK, USAGE, VERBS, main, run

__all__ = ["FAILED", "INTERRUPTED", "OK", "USAGE", "VERBS", "main", "run"]
