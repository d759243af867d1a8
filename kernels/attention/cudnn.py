"""Decode attention on a GPU by cuDNN, as JAX offers it."""

import jax
from jaxtyping import Array, Float

from ..op import implementation
from ..triton import gpu_version, needs_capability
from .workload import Attention

_CAPABILITY, _CAPABILITY_OF_WIDE_HEADS = 8.0, 9.0
_WIDEST, _WIDE = 256, 128


def _missing() -> str | None:
    if gpu_version().startswith("gfx"):
        return f"cuDNN runs on NVIDIA's GPUs only; this one is {gpu_version()}"
    return needs_capability(_CAPABILITY, "cuDNN's attention kernels")


def _refuses(workload: Attention) -> str | None:
    formats, width = (workload.kv_format, workload.activation_format), workload.head_dim
    if formats != ("bf16", "bf16"):
        return f"kv_format and activation_format must both be bf16; got {formats[0]} and {formats[1]}"
    variant = [
        *(["softcap"] if workload.softcap else []),
        *(["sinks"] if workload.sinks else []),
        *filter(None, [workload.bias]),
    ]
    if variant:
        return f"scores must be plain; got {', '.join(variant)}"
    if workload.shared_values or workload.value_dim != width:
        return "values must be stored, as wide as the keys"
    if width % 8 or width > _WIDEST:
        return f"head_dim must be a multiple of 8 up to {_WIDEST}; got {width}"
    return needs_capability(_CAPABILITY_OF_WIDE_HEADS, f"heads wider than {_WIDE}") if width > _WIDE else None


@implementation(backends=("gpu",), priority=-2, refuses=_refuses, missing=_missing)
def flash(
    workload: Attention,
    *,
    query: Float[Array, "heads head_dim"],
    keys: Float[Array, "kv_heads context head_dim"],
    values: Float[Array, "kv_heads context value_dim"],
) -> Float[Array, "heads value_dim"]:
    """Weights are rounded to bfloat16. Each cached head is a sequence of a batch, with one head that its queries share:
    the cache lies in memory as JAX asks for it, where heads of one sequence would have to be copied token by token.

    Not measured on a GPU yet. Where there is none, the same call is XLA's, so that it can be tested.
    """
    grouped = query.reshape(workload.kv_heads, 1, -1, workload.head_dim)
    out = jax.nn.dot_product_attention(
        grouped,
        keys[:, :, None],
        values[:, :, None],
        scale=workload.scale,
        implementation="cudnn" if jax.default_backend() == "gpu" else "xla",
    )
    return out.reshape(query.shape)
