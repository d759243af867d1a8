"""A question as one decode step: the calls that a token makes."""
