"""Maps the top-level folders into one namespace; everything else stands in pyproject.toml.

`kernels`, `harness` and `conf` are names that other distributions use (PyPI has a `kernels`), so they are
installed as `roofcast.kernels`, `roofcast.harness` and `roofcast.conf`.
"""

from setuptools import find_packages, setup

ROOMS = ("kernels", "harness", "conf")

setup(
    packages=[f"roofcast.{room}{f'.{inner}' if inner else ''}" for room in ROOMS for inner in ("", *find_packages(room))],
    package_dir={f"roofcast.{room}": room for room in ROOMS},
)
