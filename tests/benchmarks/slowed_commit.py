"""A commit that makes one kernel 10 % slower, and its revert, judged by the gate: the first should be red and name that kernel
alone, the second green.

    .venv/bin/python tests/benchmarks/slowed_commit.py [key=value of roofcast gate]

What is committed is cloned and the commits are made there, so this checkout stays as it is. The lm_head of GPT-2 computes its
first tenth of rows twice: rows that have left the cache by then, so that a tenth of the bytes is read again. It needs the
Numba kernels, which are the default on every CPU that has them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
KERNEL = "gemv 50257x768 bf16"
FILE = Path("kernels", "gemv", "cpu.py")
LAST = "    return (y * parts.of_rows).astype(x.dtype)\n"
AGAIN = """    if workload.label == "{kernel}":
        rows = workload.n // 10
        # The barrier keeps the two calls from running side by side.
        y, factors = jax.lax.optimization_barrier((y, parts.factors))
        again = parts.kernel(
            parts.values,
            parts.scales,
            factors,
            results=jax.ShapeDtypeStruct((workload.n,), jnp.float32),
            units=rows,
            grain=grain(parts.values),
        )
        y = y.at[:rows].set(again[:rows])
"""


def main(keys: list[str]) -> int:
    """Shows both comparisons. Returns 0 if they ended as they should."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        git(ROOT, "clone", "--quiet", "--shared", str(ROOT), str(clone))
        text = (clone / FILE).read_text(encoding="utf-8")
        if text.count(LAST) != 1:
            print(f"{FILE} must hold this line once: {LAST.strip()}", file=sys.stderr)
            return 1
        (clone / FILE).write_text(text.replace(LAST, AGAIN.format(kernel=KERNEL) + LAST), encoding="utf-8")
        git(clone, "commit", "--quiet", "--all", "--message", f"Compute a tenth of {KERNEL} twice")
        slowed = gated(clone, keys)
        git(clone, "revert", "--no-edit", "HEAD")
        reverted = gated(clone, keys)
    is_red = slowed == (1, {KERNEL})
    is_green = reverted[0] == 0
    for name, (code, slower), is_right in (("slowed", slowed, is_red), ("reverted", reverted, is_green)):
        words = ", ".join(sorted(slower)) or "nothing"
        print(f"{name}: exit code {code}, slower: {words}; {'as it should be' if is_right else 'NOT as it should be'}")
    return int(not (is_red and is_green))


def gated(clone: Path, keys: list[str]) -> tuple[int, set[str]]:
    """The exit code of the last commit against the one before it, and the kernels that it calls slower or newly wrong."""
    found = clone.parent / "found.json"
    command = (sys.executable, "-m", "roofcast.harness", "gate", "base=HEAD~1", "head=HEAD", "model=gpt2", f"output={found}")
    code = subprocess.run((*command, *keys), cwd=clone, check=False).returncode
    said = json.loads(found.read_text(encoding="utf-8")) if code < 3 else {"verdicts": (), "remarks": ()}
    slower = {one["kernel"] for one in said["verdicts"] if one["ruling"] == "slower"}
    return code, slower | {one["kernel"] for one in said["remarks"] if one["condition"] == "newly wrong"}


def git(folder: Path, *arguments: str) -> None:
    """Runs git as somebody, for a fresh machine has no name to commit under."""
    who = ("-c", "user.name=slowed", "-c", "user.email=slowed@example.com")
    subprocess.run(("git", "-C", folder, *who, *arguments), check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
