"""What cannot be is refused by the process that was asked, in one sentence, and no worker is started for it."""

from pathlib import Path

import pytest
from roofcast.harness import cli
from roofcast.harness.sweep import job


class NoWorker:
    def __init__(self, environment) -> None:
        pytest.fail("a worker was started")


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(job, "_WARM", [])
    monkeypatch.setattr(job, "Process", NoWorker)
    monkeypatch.setattr("sys.argv", ["roofcast"])
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("kernel=rope", "kernel must be an op that gpt2 calls; got rope"),
        ("seed=-1", "seed must be a whole number from 0; got -1"),
        ("timing.budget_s=0", "timing.budget_s must be a number above 0; got 0"),
        ("timing.min_samples=1", "timing.min_samples must be a whole number from 2; got 1"),
        ("timing.max_samples=3", "timing.max_samples must be at least timing.min_samples"),
        ("timing.residency=hot", "timing.residency must be one of cold, warm; got 'hot'"),
        ("timing.timer=sundial", "timing.timer must be one of auto, host, device; got 'sundial'"),
        ("blocks.gemv_grain_bytes=0", "blocks.gemv_grain_bytes must be null or a whole number from 1; got 0"),
    ],
)
def test_what_cannot_be_starts_no_worker(override: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bench", "model=gpt2", "isolation=process", override]) == cli.USAGE
    assert complaint in capsys.readouterr().err
