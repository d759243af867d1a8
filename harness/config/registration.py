"""The schemas made known to Hydra, with the groups that follow from the code."""

from __future__ import annotations

from collections.abc import Iterable

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from ...kernels.formats import format_names
from ...kernels.registry import op_named, op_names
from ..facts.devices import HERE
from .schemas import SCHEMAS, FormatChoice, KernelChoice


def folder_for(results: str) -> str:
    """Where a sweep's own files lie: with its results, or in a folder here where those go to an object store."""
    return "results" if "://" in results else results


def register(verbs: Iterable[str] = tuple(SCHEMAS)) -> None:
    """Makes the schemas of some verbs, the groups that follow from the code and `${folder_for:...}` known to Hydra.

    Groups `kernel` and `format` have no files: an op's folder and a format's file are their entries, so that
    adding one touches nothing else.
    """
    OmegaConf.register_new_resolver("folder_for", folder_for, replace=True)
    store = ConfigStore.instance()
    for verb in verbs:
        store.store(name=f"{verb}_schema", node=SCHEMAS[verb])
    store.store(group="device", name=HERE, node={"name": HERE})
    if any("kernel" in SCHEMAS[verb].__dataclass_fields__ for verb in verbs):
        # Their names come with their folders, which a verb that asks for no kernel need not import.
        for op in measured_ops():
            store.store(group="kernel", name=op, node=KernelChoice(ops=[op]))
        # The whole step says most beside its kernels, measured in the same minutes: kernel.ops=[step] is the step alone.
        for name in ("all", "step"):
            store.store(group="kernel", name=name, node=KernelChoice(ops=[*measured_ops(), "step"]))
    for name in format_names("weight"):
        store.store(group="format", name=name, node=FormatChoice(weight=name, kv=kv_of(name)))


def kv_of(weight: str) -> str:
    """The KV cache's format where only that of the weights is asked for."""
    return weight if weight in format_names("kv") else "bf16"


def measured_ops() -> tuple[str, ...]:
    """Ops that a model's decode step may ask for; the ceiling probes are always measured."""
    return tuple(name for name in op_names() if op_named(name).is_kernel)
