"""Kernels for a GPU without one: their results where JAX interprets them, and that they lower to CUDA."""

import functools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh
from roofcast.kernels import check, triton
from roofcast.kernels.attention import Attention, cudnn
from roofcast.kernels.attention import pallas as attention
from roofcast.kernels.formats import format_named
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.gemv import pallas as gemv
from roofcast.kernels.op import Implementation, Tensor, Workload
from roofcast.kernels.registry import implementations, op_named, op_names, unstorable

FORMATS = ("f32", "bf16", "int8", "fp8")
HALF = {"activation_format": "bf16"}


def _attention(heads: int, kv_heads: int, head_dim: int, context: int, kv_format: str, **more: Any) -> Attention:
    widths = {"head_dim": head_dim, "value_dim": head_dim, "scale_dim": head_dim}
    return Attention(heads=heads, kv_heads=kv_heads, context=context, kv_format=kv_format, **(widths | more))


# Heads, groups and odd widths of real models that the examples lack; row counts, vocabularies and contexts are cut down.
MODEL_SHAPES: list[Workload] = [
    Gemv(n=1152, k=896, weight_format="int8"),  # Qwen2.5-0.5B, queries with keys and values
    Gemv(n=1009, k=2304, weight_format="int8", **HALF),  # Gemma-2-2B, a slice of the LM head
    Gemv(n=130, k=14848, weight_format="fp8"),  # Falcon-180B
    _attention(14, 2, 64, 129, "fp8"),  # Qwen2.5-0.5B
    _attention(8, 4, 256, 65, "bf16", **HALF),  # Gemma-2-2B
    _attention(71, 1, 64, 40, "int8"),  # Falcon-7B
    _attention(4, 4, 80, 100, "bf16"),  # Phi-2
]
LATENT = {"value_dim": 512, "shared_values": True, "scale_dim": 192}
# More than the interpreter has time for: whole matrices and caches are lowered all the same.
LARGE: list[Workload] = [
    *(Gemv(n=n, k=k, weight_format=name) for n, k in ((14336, 4096), (4096, 14336), (128256, 4096)) for name in FORMATS),
    *(_attention(32, 8, 128, 8192, name) for name in FORMATS),
    *(_attention(128, 1, 576, 8192, name, **LATENT) for name in FORMATS),
]
VARIANTS: list[Workload] = [
    _attention(6, 2, 5, 40, "bf16", sinks=True, softcap=2.0, bias="alibi"),
    _attention(6, 2, 5, 40, "int8", sinks=True, softcap=2.0, bias="relative"),
]
TYPICAL: list[Workload] = [
    *(Gemv(n=17, k=129, weight_format=name) for name in ("bf16", "int8")),
    _attention(6, 2, 5, 40, "f32"),
    *VARIANTS,
]


def _for_gpu(workloads: list[Workload]) -> Iterator[Any]:
    """Each workload with each implementation that takes it and that the suite of all ops does not see on a CPU."""
    for workload in dict.fromkeys(workloads):
        for one in implementations(workload.op):
            if "gpu" in one.backends and "cpu" not in one.backends and not (unstorable(workload) or one.refuses(workload)):
                yield pytest.param(workload, one, id=f"{one.name}-{'-'.join(map(str, workload.axes().values()))}")


def _examples() -> list[Workload]:
    return [example for op in op_names() for example in op_named(op).examples()]


def _result(workload: Workload, one: Implementation, packed: dict[str, Any]) -> np.ndarray:
    return jax.device_get(_compiled(workload, one)(**jax.tree.map(jnp.array, packed)))


def _jitted(workload: Workload, one: Implementation) -> Any:
    # Each is called a few times: optimizing it takes longer than that saves.
    return jax.jit(functools.partial(one.function, workload), compiler_options={"xla_backend_optimization_level": 0})


_compiled = functools.cache(_jitted)


def _assert_right(workload: Workload, one: Implementation) -> None:
    packed = check.draw(workload, 0)
    assert check.error(workload, _result(workload, one, packed), check.expected(workload, packed)) <= workload.tolerance()


@pytest.mark.parametrize(("workload", "one"), list(_for_gpu([*_examples(), *MODEL_SHAPES])))
def test_results_are_the_references(workload: Workload, one: Implementation) -> None:
    _assert_right(workload, one)


@pytest.mark.parametrize(("workload", "one"), list(_for_gpu([*TYPICAL, _attention(8, 2, 64, 333, "bf16")])))
def test_long_chunks_and_split_rows_change_nothing(
    workload: Workload, one: Implementation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On one multiprocessor a chunk takes several steps; on very many, every row of a matrix is split.
    monkeypatch.setattr(attention, "PROGRAMS", 1)
    monkeypatch.setattr(attention, "MOST_TOKENS", 16)
    monkeypatch.setattr(gemv, "PROGRAMS", 2**20)
    monkeypatch.setattr(gemv, "ROW_BYTES", 32)
    packed = check.draw(workload, 1)
    result = _jitted(workload, one)(**jax.tree.map(jnp.array, packed))
    assert check.error(workload, jax.device_get(result), check.expected(workload, packed)) <= workload.tolerance()


@pytest.mark.parametrize(("workload", "one"), list(_for_gpu(TYPICAL)))
def test_a_nan_goes_where_the_reference_sends_it(workload: Workload, one: Implementation) -> None:
    for name in workload.operands():
        packed = check.draw(workload, 3)
        # An integer has no NaN; its scale has.
        holder = packed[name]["scales"] if isinstance(packed[name], dict) else packed[name]
        holder.flat[holder.size // 2] = np.nan
        (expected,) = check.expected(workload, packed)
        assert np.isnan(expected).any(), name
        np.testing.assert_array_equal(np.isnan(_result(workload, one, packed)), np.isnan(expected), err_msg=name)


def _codes(values: np.ndarray) -> np.ndarray:
    """The nibbles of each 16 bytes: first the low ones, then the high ones."""
    blocks = values.reshape(len(values), -1, 16)
    return np.concatenate([blocks & 15, blocks >> 4], axis=-1).reshape(len(values), -1)


def _grouped(name: str, n: int, k: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A matrix whose scales belong to parts of rows, and its float64 values."""
    generator = np.random.default_rng(0)
    if name == "fp8_block":
        values = generator.standard_normal((n, k)).astype(ml_dtypes.float8_e4m3fn)
        scales = generator.random((-(-n // 128), k // 128), np.float32)
        return {"values": values, "scales": scales}, values.astype(float) * np.kron(scales, np.ones((128, 128)))[:n]
    values, group = generator.integers(0, 256, (n, k // 2), np.uint8), 128 if name == "int4_g128" else 32
    if name == "mxfp4":
        scales = generator.integers(120, 130, (n, k // group), np.uint8)
        decoded, factors = _codes(values).view(ml_dtypes.float4_e2m1fn).astype(float), np.ldexp(1.0, scales.astype(int) - 127)
    else:
        scales = generator.standard_normal((n, k // group)).astype(np.float16)
        decoded, factors = _codes(values).astype(float) - 8, scales.astype(float)
    return {"values": values, "scales": scales}, decoded * factors.repeat(group, 1)


@pytest.mark.parametrize("name", ["int4", "int4_g128", "mxfp4", "fp8_block"])
@pytest.mark.parametrize(("n", "k"), [(200, 384), (5, 8320)])
def test_scales_of_parts_of_rows_are_those_of_their_weights(name: str, n: int, k: int) -> None:
    weight, values = _grouped(name, n, k)
    x = np.random.default_rng(1).standard_normal(k, np.float32)
    result = _jitted(Gemv(n=n, k=k, weight_format=name), gemv.row_blocks)(weight=weight, x=x)
    size = np.abs(values) @ np.abs(x.astype(float))
    np.testing.assert_allclose(np.asarray(result) / size, values @ x.astype(float) / size, atol=1e-6)


def test_the_sixteen_numbers_of_fp4_and_every_scale_are_exact() -> None:
    codes = np.arange(16, dtype=np.uint8)
    exact = codes.view(ml_dtypes.float4_e2m1fn).astype(np.float32)
    np.testing.assert_array_equal(gemv._fp4(jnp.asarray(codes, jnp.int32)), exact)
    scales = np.arange(1, 256, dtype=np.uint8)
    np.testing.assert_array_equal(
        gemv._powers_of_two(jnp.asarray(scales)), scales.view(ml_dtypes.float8_e8m0fnu).astype(np.float32)
    )


@pytest.fixture
def on_an_h100(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    h100 = AbstractDevice(device_kind="NVIDIA H100", num_cores=None, platform="gpu")
    with use_abstract_mesh(AbstractMesh((), (), abstract_device=h100)):
        yield


def _drawn(workload: Workload) -> dict[str, Any]:
    return check.draw(workload, 0)


def _shapes(workload: Workload) -> dict[str, Any]:
    """The shapes of operands that would take long to draw: those of one row, repeated."""

    def repeated(tensor: Tensor) -> Any:
        row = format_named(tensor.format).pack(np.ones((1, tensor.shape[-1]), np.float32))
        return jax.tree.map(lambda part: jax.ShapeDtypeStruct((*tensor.shape[:-1], part.shape[-1]), part.dtype), row)

    return {name: repeated(tensor) for name, tensor in workload.operands().items()}


# JAX 0.12 says that it will drop this way into Triton. What is tested here is that it has not.
@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")
@pytest.mark.usefixtures("on_an_h100")
@pytest.mark.parametrize(
    ("workload", "one"), [case for case in _for_gpu([*_examples(), *MODEL_SHAPES, *TYPICAL, *LARGE]) if "pallas" in case.id]
)
def test_a_kernel_lowers_to_triton(workload: Workload, one: Implementation) -> None:
    traced = jax.jit(functools.partial(one.function, workload)).trace(**(_shapes if workload in LARGE else _drawn)(workload))
    assert traced.lower(lowering_platforms=("cuda",)).as_text().count("@__gpu$xla.gpu.triton") == 1


@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")
@pytest.mark.usefixtures("on_an_h100")
@pytest.mark.parametrize("name", ["int4", "int4_g128", "mxfp4", "fp8_block"])
def test_scales_of_parts_of_rows_lower_to_triton(name: str) -> None:
    weight, _ = _grouped(name, 300, 384)
    call = functools.partial(gemv.row_blocks.function, Gemv(n=300, k=384, weight_format=name))
    traced = jax.jit(call).trace(weight=weight, x=np.ones(384, np.float32))
    assert traced.lower(lowering_platforms=("cuda",)).as_text().count("@__gpu$xla.gpu.triton") == 1


@given(n=st.integers(1, 200_000), k=st.integers(1, 60_000), bits=st.sampled_from([4, 8, 16, 32]))
def test_tiles_are_powers_of_two_and_splits_have_work(n: int, k: int, bits: int) -> None:
    cut = gemv.tiling(n, k, bits)
    assert all(extent & (extent - 1) == 0 for extent in (cut.rows, cut.columns, cut.splits))
    assert cut.rows * cut.columns * bits <= 8 * gemv.TILE_BYTES
    assert (cut.splits - 1) * cut.columns < k
    assert cut.splits == 1 or cut.rows == 1


@given(width=st.integers(1, 1024))
def test_spans_cover_a_width_in_powers_of_two(width: int) -> None:
    spans = attention.spans(width)
    assert [start for start, _ in spans] == [sum(extent for _, extent in spans[:index]) for index in range(len(spans))]
    assert all(extent >= 16 and extent & (extent - 1) == 0 for _, extent in spans)
    assert 0 <= sum(spans[-1]) - width < 16


@given(group=st.integers(1, 256), kv_heads=st.sampled_from([1, 8]), width=st.integers(1, 1024), context=st.integers(1, 200_000))
def test_chunks_are_no_longer_than_keeps_the_multiprocessors_busy(group: int, kv_heads: int, width: int, context: int) -> None:
    workload = _attention(group * kv_heads, kv_heads, width, context, "bf16")
    cut = attention.chunking(workload, 2)
    assert all(extent >= 16 and extent & (extent - 1) == 0 for extent in (cut.queries, cut.tokens))
    chunks = -(-context // (cut.tokens * cut.steps))
    programs = chunks * kv_heads * -(-group // cut.queries)
    assert programs > attention.PROGRAMS // 2 or (cut.steps, cut.tokens) == (1, 16)


@pytest.mark.parametrize(
    ("version", "format_", "reason"),
    [
        ("9.0", "fp8", None),
        ("8.6", "bf16", None),
        ("8.6", "fp8", "conversions from fp8 need a GPU of compute capability 8.9 or above; this one has 8.6"),
        ("7.5", "bf16", "Triton's kernels need a GPU of compute capability 8.0 or above; this one has 7.5"),
        ("gfx942", "fp8", None),
    ],
)
def test_an_older_gpu_is_told_what_it_lacks(
    version: str, format_: str, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(compute_capability=version)])
    for one, workload in (
        (gemv.row_blocks, Gemv(n=3, k=5, weight_format=format_)),
        (attention.flash_decode, _attention(6, 2, 5, 40, format_)),
    ):
        assert (one.missing() or one.refuses(workload)) == reason


def test_cudnn_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = _attention(4, 2, 256, 9, "bf16", **HALF)
    for version, reason in (
        ("gfx942", "cuDNN runs on NVIDIA's GPUs only; this one is gfx942"),
        ("7.5", "cuDNN's attention kernels need a GPU of compute capability 8.0 or above; this one has 7.5"),
        ("8.6", "heads wider than 128 need a GPU of compute capability 9.0 or above; this one has 8.6"),
        ("9.0", None),
    ):
        monkeypatch.setattr(jax, "devices", lambda version=version: [SimpleNamespace(compute_capability=version)])
        assert (cudnn.flash.missing() or cudnn.flash.refuses(wide)) == reason


def test_a_jax_without_triton_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "pl", None)
    assert "cannot be imported" in str(gemv.row_blocks.missing())


def test_what_no_kernel_takes_is_refused_in_words() -> None:
    assert "offsets reach 2147483648" in str(gemv.row_blocks.refuses(Gemv(n=2**20, k=2**12, weight_format="int8")))
    assert gemv.row_blocks.refuses(Gemv(n=2**20, k=2**11, weight_format="int8")) is None
    for workload, reason in (
        (_attention(4, 2, 64, 9, "bf16"), "kv_format and activation_format must both be bf16; got bf16 and f32"),
        (_attention(4, 2, 68, 9, "bf16", **HALF), "head_dim must be a multiple of 8 up to 256; got 68"),
        (_attention(4, 2, 512, 9, "bf16", **HALF), "head_dim must be a multiple of 8 up to 256; got 512"),
        (_attention(4, 1, 64, 9, "bf16", **HALF, shared_values=True), "values must be stored, as wide as the keys"),
        (_attention(4, 2, 64, 9, "bf16", **HALF, sinks=True), "scores must be plain; got sinks"),
    ):
        assert cudnn.flash.refuses(workload) == reason
