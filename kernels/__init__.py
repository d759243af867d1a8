"""What runs: one folder per op, holding its workloads, reference, cost and JAX implementations.

Knows nothing of the harness. Importing it, or any op's package, imports no JAX; only the implementation
modules inside the folders do.
"""
