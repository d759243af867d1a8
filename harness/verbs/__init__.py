"""The words of the command line, one module each with `run(config) -> int`; `bench` is in `sweep/`, `gate` in `gate/`."""
