"""What makes two jobs the same: the configuration, the machine with its software, and the code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from ..host.host import fingerprint
from ..host.provenance import PACKAGE_FOLDER

WITHOUT_EFFECT = ("results", "output", "force", "timeout", "compile_cache")
"""Keys that say what becomes of measurements, not what they are."""


def config_hash(config: DictConfig) -> str:
    """Twelve hexadecimal digits of the resolved configuration, without where its results go."""
    asked: Any = OmegaConf.to_container(config, resolve=True)
    return _digest({key: value for key, value in asked.items() if key not in WITHOUT_EFFECT})


@dataclass(frozen=True)
class Here:
    """The machine with its software, and the code.

    Attributes:
        host_key: see `host.Host`; before JAX is asked, so that nothing heavy has to be imported.
        code: twelve hexadecimal digits of all source and configuration files of the package.
        own_groups: the same of the user's own folders of configuration.
        launcher: the same of what starts a sweep's jobs, which may be on another machine than this.
    """

    host_key: str
    code: str
    own_groups: str = ""
    launcher: str = ""

    @classmethod
    def of(cls, hydra: Any) -> Here:
        """Where a command runs, whose Hydra configuration this is."""
        own = [Path(source.path) for source in hydra.runtime.config_sources if source.schema == "file"]
        launcher = _digest(OmegaConf.to_container(hydra.launcher)) if "launcher" in hydra else ""
        return cls(_host_key(), _code(), _digest_of_files(own) if own else "", launcher)

    def key(self, config: DictConfig) -> str:
        """What a finished job is found again by: twelve hexadecimal digits."""
        return _digest([config_hash(config), self.host_key, self.code])

    def spelling(self, overrides: Sequence[str]) -> str:
        """The same of a job's overrides as they are written, which costs no composing: equal ones compose equally.

        Files of the user's own are entries of groups by now; their content counts.
        """
        said = sorted(one for one in overrides if one.lstrip("+~").partition("=")[0] not in WITHOUT_EFFECT)
        return _digest([[(one, _entry(one)) for one in said], self.host_key, self.code, self.own_groups, self.launcher])


def _entry(override: str) -> str:
    group, _, name = override.lstrip("+").partition("=")
    found: Any = ConfigStore.instance().repo.get(group)
    node = found.get(f"{name}.yaml") if isinstance(found, dict) else None
    return OmegaConf.to_yaml(node.node) if node is not None else ""


@cache
def _host_key() -> str:
    return fingerprint().key


@cache
def _code() -> str:
    return _digest_of_files([PACKAGE_FOLDER.parent / room for room in ("kernels", "harness", "conf")])


def _digest_of_files(folders: Sequence[Path]) -> str:
    files = ((file, folder) for folder in folders for file in sorted(folder.rglob("*")) if file.suffix in (".py", ".yaml"))
    return _digest([[str(file.relative_to(folder)), hashlib.sha256(file.read_bytes()).hexdigest()] for file, folder in files])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
