"""The gate tried on this machine: the same code on both sides, and known slow-downs of one of them."""
