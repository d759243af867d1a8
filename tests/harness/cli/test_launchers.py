"""Engines that run the jobs of a sweep: each is an extra, and what is missing is said."""

import importlib.util

import pytest
from roofcast.harness import cli

EXTRAS = {"processes": "joblib", "submitit": "submitit", "slurm": "submitit", "ray_cluster": "ray"}


@pytest.mark.parametrize(("launcher", "extra"), EXTRAS.items())
def test_a_launcher_whose_extra_is_missing_is_said_in_one_sentence(launcher, extra, monkeypatch, capsys, tmp_path):
    found = importlib.util.find_spec(f"hydra_plugins.hydra_{extra}_launcher") if _has_plugins() else None
    if found:
        pytest.skip(f"the extra {extra} is installed")
    assert cli.run(["bench", "-m", f"hydra/launcher={launcher}", f"results={tmp_path}", "context=512"]) == cli.USAGE
    said = capsys.readouterr().err
    assert (
        said == f"roofcast: hydra/launcher needs the extra {extra}, which is not installed: pip install 'roofcast[{extra}]'\n"
    )


def _has_plugins():
    return importlib.util.find_spec("hydra_plugins") is not None
