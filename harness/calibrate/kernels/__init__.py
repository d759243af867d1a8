"""Times of single kernels of other engines on other chips: rows, physics, fit, and how far it carries."""
