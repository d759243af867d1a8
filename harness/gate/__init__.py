"""Two revisions measured side by side, and the verdict: slower, faster, same or inconclusive."""
