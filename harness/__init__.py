"""How kernels are measured, calibrated, predicted and shown."""
