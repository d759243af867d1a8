"""Every kernel over the commits that it was measured at."""
