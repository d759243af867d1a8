"""A transformer decoder as a Flax NNX module, made of the ops' own implementations: the code that is measured alone.

Its parameters are packed as the formats of `kernels.formats` pack them, and its layers call for each op the best
implementation that the backend has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from . import check, dispatch
from .formats import format_named
from .op import Tensor
from .step.checkpoint import Checkpoint
from .step.workload import DecodeStep


class Decoder(nnx.Module):
    """One token after the other, each with the key-value cache of those before it.

    The cache is full: a step attends to `workload.context` tokens, the new one at `position` included, as a decode
    step is measured. Where scores depend on distances (ALiBi, T5) the last row of the cache counts as the newest token, so
    that a position before it has a time but no meaning. `generate` starts from an empty cache instead and lets it grow.
    """

    def __init__(self, workload: DecodeStep, arrays: Mapping[str, Any]) -> None:
        """Takes packed weights and caches by the names of `workload.composition`; arrays are not copied.

        Raises:
            ValueError: if no implementation can compute some part of the step.
        """
        reason = refusal(workload, jax.default_backend())
        if reason is not None:
            raise ValueError(reason)
        self.workload = workload
        caches = workload.composition.caches()
        # The keys and values of an encoder's tokens stand with the weights: a step does not write to them.
        self.weights = nnx.data({name: _held(nnx.Param, value) for name, value in arrays.items() if name not in caches})
        self.caches = nnx.data({name: _held(nnx.Cache, arrays[name]) for name in caches})

    @classmethod
    def seeded(cls, workload: DecodeStep, seed: int = 0) -> Decoder:
        """A decoder with random weights and a random cache, both of order 1 in what they do to the stream."""
        drawn = check.draw(workload, seed)
        return cls(workload, {name: jax.tree.map(jnp.array, drawn[name]) for name in workload.composition.arrays()})

    @classmethod
    def loaded(cls, workload: DecodeStep, folder: Path) -> Decoder:
        """A decoder with the weights of a Hugging Face folder, see `step.checkpoint`, and a cache of zeros.

        Raises:
            ValueError: if the folder does not hold the weights of the model.
        """
        weights = Checkpoint(folder).read(workload)
        caches = {name: _grown(None, tensor) for name, tensor in workload.composition.caches().items()}
        return cls(workload, jax.tree.map(jnp.array, weights) | caches)

    def __call__(self, token: Any, position: Any, uniform: Any = None) -> tuple[jax.Array, jax.Array]:
        """One decode step, which writes the token's keys and values into the caches.

        Args:
            token: the last token, an int32 scalar.
            position: its place in the sequence, from 0, an int32 scalar below the context.
            uniform: a number in [0, 1) that decides the draw, unless sampling is greedy.

        Returns:
            The logits [vocab] and the next token.
        """
        found = self.step(token, position, uniform)
        return found["logits"], found["token"]

    def step(self, token: Any, position: Any, uniform: Any = None) -> dict[str, Any]:
        """The same step, with all results of the workload by name: each mixture's experts, too."""
        composition = self.workload.composition
        found = composition.run(dispatch.compute, self.arrays(composition.arrays()), token, position, uniform)
        for name in self.caches:
            self.caches[name] = _held(nnx.Cache, found[name])
        return found

    def arrays(self, names: Iterable[str]) -> dict[str, Any]:
        """Packed weights and caches by name."""
        held = self.weights | self.caches
        return {name: jax.tree.map(lambda one: one[...], held[name], is_leaf=_is_variable) for name in names}


def generate(decoder: Decoder, prompt: Iterable[int], count: int) -> list[int]:
    """The `count` tokens that follow a prompt, with a cache that is empty at first and grows by a row for each token.

    The attention of a step is compiled for the context that it sees, everything else once. Sampling is greedy.

    Args:
        decoder: whose weights are used; its caches are not.
        prompt: at least one token.
        count: tokens wanted.

    Raises:
        ValueError: if the prompt is empty, the decoder draws its tokens, or they depend on an encoder's.
    """
    given = list(prompt)
    if not given:
        raise ValueError("prompt must hold at least one token; got none")
    if decoder.workload.sampling != "greedy":
        raise ValueError(f"sampling must be greedy to generate; got {decoder.workload.sampling}")
    model = decoder.workload.model
    if model.family != "decoder":
        raise ValueError(
            f"model must be a decoder to generate from a prompt; got {model.name}, which reads an encoder's tokens"
        )
    names = [name for name in decoder.workload.composition.arrays() if name not in decoder.caches]
    weights, caches, tokens = decoder.arrays(names), {}, []
    for position in range(len(given) + count - 1):
        step = replace(decoder.workload, context=position + 1)
        caches = {name: _grown(caches.get(name), tensor) for name, tensor in step.composition.caches().items()}
        one = Decoder(step, weights | caches)
        last = given[position] if position < len(given) else tokens[-1]
        _, following = one(jnp.int32(last), jnp.int32(position))
        caches = one.arrays(one.caches)
        if position >= len(given) - 1:
            tokens.append(int(following))
    return tokens


def refusal(workload: DecodeStep, backend: str) -> str | None:
    """Why a backend cannot compute a step, or None: the first call that no implementation takes."""
    return dispatch.refusal({role: need.workload for role, need in workload.composition.needs.items()}, backend)


def _grown(cache: Any, tensor: Tensor) -> Any:
    """The cache with rows of zeros up to the tensor's shape, or all zeros where there is none yet."""
    if cache is None:
        return jax.tree.map(jnp.array, format_named(tensor.format).pack(np.zeros(tensor.shape, np.float32)))
    rows = tensor.shape[1]
    # In NumPy, since JAX would compile it for every number of rows.
    return jax.tree.map(lambda leaf: jax.device_put(np.pad(leaf, ((0, 0), (0, rows - leaf.shape[1]), (0, 0)))), cache)


def _held(kind: type[nnx.Variable[Any]], packed: Any) -> Any:
    return jax.tree.map(kind, packed)


def _is_variable(one: Any) -> bool:
    return isinstance(one, nnx.Variable)
