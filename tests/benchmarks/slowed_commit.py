"""A commit that slows something down, and its revert, judged by the gate: the first should be red and name it, the second not.

    .venv/bin/python tests/benchmarks/slowed_commit.py kernel|harness [key=value of roofcast gate]

What is committed is cloned and the commits are made there, so this checkout stays as it is.

`kernel`: the lm_head of GPT-2 computes its first tenth of rows twice: rows that have left the cache by then, so that a tenth of
the bytes is read again. `roofcast gate` should name that kernel alone. It needs the Numba kernels, which are the default on
every CPU that has them.

`harness`: a call of a kernel sleeps for a millisecond between the clock's two readings. `make gate` should name the whole step,
among other kernels that are called one by one.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
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
STEP = "step gpt2 6 layers bf16"
TIMED = Path("harness", "measure", "ready_call.py")
CALL = "__call__"


def twice(text: str) -> str:
    """The file of the kernel, with a tenth of its rows computed again."""
    if text.count(LAST) != 1:
        raise ValueError(f"{FILE} must hold this line once: {LAST.strip()}")
    return text.replace(LAST, AGAIN.format(kernel=KERNEL) + LAST)


def sleeping(text: str) -> str:
    """The file of the timed call, in which it sleeps before it does anything."""
    found = [one for one in ast.walk(ast.parse(text)) if isinstance(one, ast.FunctionDef) and one.name == CALL]
    if len(found) != 1:
        raise ValueError(f"{TIMED} must hold one function {CALL}; it has {len(found)}")
    first = found[0].body[1 if ast.get_docstring(found[0]) else 0]
    lines = text.splitlines(keepends=True)
    lines.insert(first.lineno - 1, f"{' ' * first.col_offset}__import__('time').sleep(1e-3)\n")
    return "".join(lines)


@dataclass(frozen=True)
class Slowed:
    """A commit that should be found.

    Attributes:
        file: that it changes.
        change: gives the file's text with the change.
        command: compares the commit with the one before it, which has a tag.
        is_found: whether what is called slower is right.
    """

    file: Path
    change: Callable[[str], str]
    command: Callable[[list[str]], list[str]]
    is_found: Callable[[set[str]], bool]


def verb(keys: list[str]) -> list[str]:
    """`roofcast gate` of kernels."""
    return [sys.executable, "-m", "roofcast.harness", "gate", "base=HEAD~1", "head=HEAD", "model=gpt2", *keys]


def make(keys: list[str]) -> list[str]:
    """`make gate` with the environment of this checkout."""
    ready = ".venv/.dev"
    return [
        "make",
        "--no-print-directory",
        f"--old-file={ready}",
        f"BIN={Path(sys.executable).parent}",
        "gate",
        f"ARGS={' '.join(keys)}",
    ]


COMMITS = {
    "kernel": Slowed(FILE, twice, verb, lambda slower: slower == {KERNEL}),
    "harness": Slowed(TIMED, sleeping, make, lambda slower: STEP in slower),
}


def main(which: str, keys: list[str]) -> int:
    """Shows both comparisons. Returns 0 if they ended as they should."""
    one = COMMITS[which]
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        git(ROOT, "clone", "--quiet", "--shared", str(ROOT), str(clone))
        git(clone, "tag", "--annotate", "--message", "before", "before")
        text = (clone / one.file).read_text(encoding="utf-8")
        (clone / one.file).write_text(one.change(text), encoding="utf-8")
        git(clone, "commit", "--quiet", "--all", "--message", f"Slow {which} down")
        slowed = gated(clone, one.command, keys)
        is_red = told("slowed", slowed, is_right=slowed[0] == 1 and one.is_found(slowed[1]))
        git(clone, "revert", "--no-edit", "HEAD")
        reverted = gated(clone, one.command, keys)
        is_green = told("reverted", reverted, is_right=reverted[0] == 0)
    return int(not (is_red and is_green))


def told(name: str, found: tuple[int, set[str]], *, is_right: bool) -> bool:
    """Prints what a comparison came to, and returns whether that is right."""
    code, slower = found
    words = ", ".join(sorted(slower)) or "nothing"
    print(f"{name}: exit code {code}, slower: {words}; {'as it should be' if is_right else 'NOT as it should be'}", flush=True)
    return is_right


def gated(clone: Path, command: Callable[[list[str]], list[str]], keys: list[str]) -> tuple[int, set[str]]:
    """What the gate ends with, and the kernels that it calls slower or newly wrong."""
    found = clone.parent / "found.json"
    found.unlink(missing_ok=True)
    subprocess.run(command([f"output={found}", *keys]), cwd=clone, check=False)
    # make has an exit code of its own.
    said = json.loads(found.read_text(encoding="utf-8")) if found.exists() else {"exit_code": 3, "verdicts": (), "remarks": ()}
    slower = {one["kernel"] for one in said["verdicts"] if one["ruling"] == "slower"}
    return said["exit_code"], slower | {one["kernel"] for one in said["remarks"] if one["condition"] == "newly wrong"}


def git(folder: Path, *arguments: str) -> None:
    """Runs git as somebody, for a fresh machine has no name to commit under."""
    who = ("-c", "user.name=slowed", "-c", "user.email=slowed@example.com")
    subprocess.run(("git", "-C", folder, *who, *arguments), check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
