"""What this machine's own kernel measurements say of calls that were not measured, and of whole steps."""
