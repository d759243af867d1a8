"""The Hydra configuration groups, as a package so that an installed copy finds them."""
