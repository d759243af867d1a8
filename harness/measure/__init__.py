"""How kernels are timed on this machine: prepared, interleaved with ceiling probes, judged calm or disturbed."""
