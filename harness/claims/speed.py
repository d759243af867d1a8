"""Claims about speed: tokens per second, first token, weight streaming."""

from __future__ import annotations

from ..calibrate.decode import evidence
from ..facts.devices import device_named
from ..facts.models import model_named
from ..predict.answer import answers
from ..words import figure
from .finding import (
    AT_BITS,
    BITS,
    Finding,
    Given,
    ask,
    at_each,
    bandwidth_gbs,
    by_bits,
    capacity_gb,
    counts,
    gigabytes,
    link_gbs,
    plain,
    row,
    said,
    weights_held,
    weights_read,
)

_LAUNCH = "cerebras at launch"
_PROMPT = 1024


def speed_on_wafer(given: Given) -> Finding:
    """Whether the model fits, what the link allows if it does not, and what enough wafers would do."""
    model, device, stated = model_named(given["model"]), device_named(given["device"]), given["tokens_per_s"]
    read, held, room_gb, link = weights_read(model), weights_held(model), capacity_gb(device), link_gbs(device)
    sizes = [gigabytes(read, bits) for bits in BITS]
    ceilings = [link / size for size in sizes]
    kept = [link / (size - room_gb) if size > room_gb else float("inf") for size in sizes]
    now = at_each(model, device)
    launched = answers([ask(model, device, 16, engine=_LAUNCH)])[0]
    fewest = now[16].chips
    layer_us, known = 1e6 / stated / model.layers, device.layer_us
    least_bits = room_gb * 8e9 / held
    figures = {"weights_read_b": read / 1e9, "layer_us": layer_us, "least_bits": least_bits}
    figures |= by_bits("weights_gb", sizes) | by_bits("streamed_ceiling_tokens_per_s", ceilings)
    figures |= by_bits("kept_ceiling_tokens_per_s", kept) | by_bits("wafers", [one.chips for one in now.values()])
    figures |= {"predicted_tokens_per_s": now[16].tokens_per_s.point, "predicted_low": now[16].tokens_per_s.low}
    published = f"; published speeds imply {figure(known.value)} to {figure(known.high)}" if known and known.high else ""
    fits = min(sizes) <= room_gb
    reached = stated <= max(now[16].tokens_per_s.high, launched.tokens_per_s.high)
    outcome = f"conceivable on {fewest} wafers" if reached else f"not even on {fewest} wafers"
    return Finding(
        f"{figure(read / 1e9, 4)}B weights a token, {row(sizes)} GB {AT_BITS}, against {plain(room_gb)} GB. Streamed over "
        f"{plain(link)} GB/s at most {row(ceilings)} tok/s; with {plain(room_gb)} GB of them kept on the wafer {row(kept)}",
        "conceivable" if fits else f"impossible as stated: it does not fit; {outcome}",
        predicts=f"{fewest} wafers at 16 bits: {said(now[16].tokens_per_s)}, with the vendor's software of its launch in 2024 "
        f"{said(launched.tokens_per_s)}. {figure(stated)} tok/s is {figure(layer_us)} us a layer{published}",
        least=f"{counts([one.chips for one in now.values()])} wafers {AT_BITS}, "
        f"or {figure(least_bits, 2)} bits a weight on one, without a KV cache",
        figures=figures,
    )


def speed_on_node(given: Given) -> Finding:
    """Against the roofline of all memories together, and against what has been published for the like."""
    model, device, count = model_named(given["model"]), device_named(given["device"]), given["devices"]
    stated, read, bandwidth = given["tokens_per_s"], weights_read(model), bandwidth_gbs(device) * count
    ceilings = [bandwidth / gigabytes(read, bits) for bits in BITS]
    least_bits = bandwidth * 8e9 / read / stated
    found = at_each(model, device, count)
    alike = [
        (line, run)
        for line, run in zip(evidence().rows, evidence().runs, strict=True)
        if run.chips == count and run.weight_bits == 16 and not run.pipeline and abs(weights_read(run.model) / read - 1) < 0.05
    ]
    published = ", ".join(f"{figure(line.tok_s)} ({line.model}, {line.engine}, {run.device.name})" for line, run in alike)
    impossible = [bits for bits, ceiling in zip(BITS, ceilings, strict=True) if ceiling < stated]
    figures = by_bits("ceiling_tokens_per_s", ceilings) | {"least_bits": least_bits}
    figures |= by_bits("predicted_tokens_per_s", [one.tokens_per_s.point for one in found.values()])
    figures["tokens_per_step_at_16_bits"] = stated / ceilings[0]
    return Finding(
        f"peak roofline of {plain(bandwidth / 1e3)} TB/s, no KV cache: at most {row(ceilings)} tok/s {AT_BITS}",
        f"impossible as stated at {', '.join(map(str, impossible))} bits"
        f"; speculative decoding would have to yield {figure(stated / ceilings[0], 2)} tokens a step "
        f"at 16 bits and peak bandwidth"
        if impossible
        else "conceivable",
        predicts="; ".join(f"{bits} bits: {said(one.tokens_per_s)}" for bits, one in found.items())
        + f". Published on {count} chips at 16 bits: {published}",
        least=f"{figure(least_bits)} bits a weight at peak bandwidth",
        figures=figures,
    )


def first_token(given: Given) -> Finding:
    """The claim names no prompt: the longest that physics allows, and the prediction for a usual one."""
    model, wafer, device, count = (
        model_named(given["model"]),
        device_named(given["wafer"]),
        device_named(given["device"]),
        given["devices"],
    )
    read = weights_read(model)
    once_s = [gigabytes(read, bits) / link_gbs(wafer) for bits in BITS]
    longest = given["ms"] / 1e3 * count * device.peak_flops("f16") / (2 * read)
    several, node = answers([ask(model, wafer, 16, prompt=_PROMPT), ask(model, device, 16, count, prompt=_PROMPT)])
    is_late = all(seconds * 1e3 > given["wafer_ms"] for seconds in once_s)
    figures = by_bits("one_pass_over_link_s", once_s) | {"longest_prompt": longest}
    if node.ttft_ms and several.ttft_ms:
        figures |= {"node_ttft_ms": node.ttft_ms.point, "wafers_ttft_ms": several.ttft_ms.point}
    late = f"impossible on one {wafer.name}, where one pass over the weights alone takes longer"
    wafer_verdict = late if is_late else f"conceivable on one {wafer.name}"
    in_reach = node.ttft_ms is not None and node.ttft_ms.low <= given["ms"]
    return Finding(
        f"one pass over the weights takes {row(once_s)} s {AT_BITS} over one wafer's link; {given['ms']} ms of {count} "
        f"{device.name} at their f16 peak are enough for a prompt of {figure(longest)} tokens at most",
        f"{wafer_verdict}; {'conceivable' if in_reach else 'not to be expected'} on {count}x {device.name}; "
        "the prompt's length is not stated",
        predicts=f"prompt of {_PROMPT}, 16 bits: {said(several.ttft_ms, 'ms')} on {several.chips} wafers, "
        f"{said(node.ttft_ms, 'ms')} "
        f"on {count}x {device.name}",
        least=f"{several.chips} wafers at 16 bits",
        figures=figures,
    )


def streaming(given: Given) -> Finding:
    """At batch 1 every token brings every weight in anew; what a batch shares."""
    model, device, stated = model_named(given["model"]), device_named(given["device"]), given["tokens_per_s"]
    ceilings = [link_gbs(device) / gigabytes(weights_read(model), bits) for bits in BITS]
    batches = [stated / ceiling for ceiling in ceilings]
    slow = at_each(model, device, 1)
    figures = by_bits("ceiling_tokens_per_s", ceilings) | by_bits("batch", batches)
    return Finding(
        f"every token re-streams every weight over {plain(link_gbs(device))} GB/s: at most {row(ceilings)} tok/s "
        f"{AT_BITS}; the link is the bound",
        "false: batch 1 is where it helps least, for nothing shares the weights that are brought in",
        predicts="; ".join(f"{bits} bits: {said(one.tokens_per_s)}" for bits, one in slow.items()),
        least=f"{row(batches)} sequences at a time {AT_BITS} for {figure(stated)} tok/s together",
        figures=figures,
    )
