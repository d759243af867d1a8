"""llama.cpp's llama-bench, `-o json` or `-o jsonl` (github:ggml-org/llama.cpp tools/llama-bench/README.md)."""

from __future__ import annotations

from .fields import Document, LeftOutError, Reading, bits, number, positive, text

TOOL = "llama-bench"


def reads(document: Document) -> bool:
    """Whether the object is one of its tests."""
    return {"avg_ts", "n_gen", "n_prompt"} <= set(document)


def read(document: Document) -> Reading:
    """A test of text generation.

    Raises:
        LeftOutError: for prompt processing, or where part of the model ran elsewhere.
        UsageError: for a field that is not as it must be.
    """
    prompt, generated = number(document, "n_prompt"), number(document, "n_gen")
    if not generated:
        raise LeftOutError(f"n_gen is 0: a prompt of {prompt:.0f} was processed, no token generated")
    if prompt:
        raise LeftOutError(f"n_prompt is {prompt:.0f} and n_gen {generated:.0f}: the speed counts both together")
    chips = _chips(document)
    size, params = positive(document, "model_size"), positive(document, "model_n_params")
    depth = number(document, "n_depth") if "n_depth" in document else 0.0
    found = {
        "hardware": chips[0],
        "n_chips": str(len(chips)),
        "parallelism": _parallelism(document, len(chips)),
        "model": text(document, "model_filename"),
        "weight_bits": f"{8 * size / params:.4g}",
        "kv_bits": bits("type_k", text(document, "type_k")),
        "context": f"tg{generated:.0f} @d{depth:.0f}",
        "engine": f"llama.cpp b{number(document, 'build_number'):.0f}" if "build_number" in document else "llama.cpp",
        "tok_s": f"{positive(document, 'avg_ts'):.6g}",
        "source_date": text(document, "test_time")[:10],
    }
    return Reading(found, params / 1e9)


def _chips(document: Document) -> list[str]:
    """The machine of each part of the run, as the driver names it."""
    backends = text(document, "backends")
    if backends in ("CPU", "BLAS", ""):
        return [text(document, "cpu_info")]
    layers = number(document, "n_gpu_layers", least=-1)
    # -1 is all of them, and so is 99, which people type; models of more layers than that are offloaded by a larger number.
    if 0 <= layers < 99:
        raise LeftOutError(f"n_gpu_layers is {layers:.0f}: it does not say that the whole model ran on the GPU")
    if document.get("no_kv_offload") is True or document.get("n_cpu_moe"):
        raise LeftOutError("no_kv_offload or n_cpu_moe is set: part of the model ran on the CPU")
    names = [name.strip() for name in text(document, "gpu_info").split(",") if name.strip()]
    return names[:1] if text(document, "split_mode") == "none" else names or [""]


def _parallelism(document: Document, chips: int) -> str:
    if chips == 1:
        return ""
    return f"layer-split{chips}" if text(document, "split_mode") == "layer" else f"TP{chips}"
