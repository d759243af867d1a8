"""The next job's configuration is made while a job is prepared, not while one is measured, and once."""

import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from roofcast.harness.host.exclusive import Device
from roofcast.harness.sweep.ahead import Ahead


class Loader:
    """Says what it was asked for."""

    name = "hydra's"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def load_sweep_config(self, master: Any, overrides: list[str]) -> Any:
        self.asked.append(overrides)
        if "bad" in overrides:
            raise ValueError("no such override")
        return {"composed": overrides}


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Loader:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return Loader()


def asked_within(loader: Loader, count: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while len(loader.asked) < count and time.monotonic() < end:
        time.sleep(0.01)
    return len(loader.asked) >= count


def test_the_next_is_composed_once_nobody_measures(loader: Loader) -> None:
    ahead: Any = Ahead(loader)
    ahead.expect([["a"], ["b"], ["c"]])
    with Device("cpu").alone():
        assert ahead.load_sweep_config(None, ["a"]) == {"composed": ["a"]}
        assert not asked_within(loader, 2, 0.2)
    assert asked_within(loader, 2, 10)
    assert ahead.load_sweep_config(None, ["b"]) == {"composed": ["b"]}
    assert ahead.load_sweep_config(None, ["c"]) == {"composed": ["c"]}
    assert loader.asked == [["a"], ["b"], ["c"]]
    assert ahead.name == "hydra's"


def test_what_cannot_be_composed_is_told_to_who_asks_for_it(loader: Loader) -> None:
    ahead: Any = Ahead(loader)
    ahead.expect([["a"], ["bad"]])
    ahead.load_sweep_config(None, ["a"])
    assert asked_within(loader, 2, 10)
    with pytest.raises(ValueError, match="no such override"):
        ahead.load_sweep_config(None, ["bad"])
