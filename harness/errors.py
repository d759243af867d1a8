"""The one kind of error that a user causes and can mend."""


class UsageError(Exception):
    """Bad input, said in one sentence that names the field, the value and what would be accepted."""
