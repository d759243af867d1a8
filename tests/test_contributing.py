"""What CONTRIBUTING.md shows works as it stands there, with no other edit."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = dict(re.findall(r"^```\w+\n# (\S+)\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL))

SCRIPT = """
import json
import jax
import numpy as np
from roofcast.harness.facts.devices import target
from roofcast.harness.facts.models import model_named
from roofcast.harness.steps.workloads import calls, decode_step, resident_elements, streamed_weight_elements, weight_bytes
from roofcast.kernels import check
from roofcast.kernels.formats import format_named
from roofcast.kernels.model import Formats, Step
from roofcast.kernels.registry import implementations, op_named, supported

found = {}

found["errors"] = errors = []
found["refusals"] = refusals = []
for workload in op_named("softcap").examples():
    packed = check.draw(workload, 0)
    for one, refusal in supported(workload, "cpu"):
        if refusal:
            refusals.append(f"{one.name}: {refusal}")
            continue
        outputs = jax.jit(one.function, static_argnums=0)(workload, **packed)
        errors.append(check.error(workload, outputs, check.expected(workload, packed)) / workload.tolerance())
found["implementations"] = [one.name for one in implementations("softcap")]
found["roles"] = {
    name: [need.role for need in decode_step(Step(model_named(name), 128)) if need.workload.op == "softcap"]
    for name in ("gemma-2-2b", "llama-3.2-1b")
}

fp8 = format_named("fp8_e5m2")
values = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
found["rounding"] = float(np.max(np.abs(fp8.unpack(fp8.pack(values)) / values - 1)) / fp8.epsilon)
step = lambda weight: decode_step(Step(model_named("llama-3.2-1b"), 128, Formats(weight=weight)))
found["narrower"] = weight_bytes(step("fp8_e5m2")) / weight_bytes(step("bf16"))

model = model_named("EleutherAI/Pythia 14M")
needs = calls(Step(model, 1))
found["counted"] = {
    "params_b": resident_elements(needs) / 1e9,
    "weights_streamed_b": streamed_weight_elements(needs) / 1e9,
    "kv_elements": sum(
        need.count * tensor.elements
        for need in needs
        if need.workload.op == "cache"
        for operand, tensor in need.workload.operands().items()
        if operand.startswith("new_")
    ),
}

device, count = target("2x 7900 xt")
found["device"] = [device.name, count, device.floor_us(800e6, 0, "f16")]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The packages as they would be installed, with the examples added."""
    folder = tmp_path_factory.mktemp("with-examples")
    for room in ("kernels", "harness", "conf"):
        shutil.copytree(ROOT / room, folder / "roofcast" / room, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in EXAMPLES.items():
        file = folder / "roofcast" / path
        assert not file.exists(), f"{path} is no longer an example: it exists"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return folder


@pytest.fixture(scope="module")
def python(tree):
    """Runs Python on that tree."""
    # -S leaves out .pth files, through which the checkout would be imported instead.
    path = os.pathsep.join((str(tree), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    environment = os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}

    def run(*arguments):
        command = (sys.executable, "-S", *arguments)
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def found(python):
    return json.loads(python("-c", SCRIPT))


@pytest.mark.parametrize(
    ("group", "name"),
    [("kernel", "softcap"), ("format", "fp8_e5m2"), ("model", "pythia-14m"), ("device", "Radeon_RX_7900_XT")],
)
def test_the_command_offers_what_was_added(help_text, group, name):
    assert name in re.search(rf"^{group}: (.*)$", help_text, re.MULTILINE)[1].split(", ")


@pytest.fixture(scope="module")
def help_text(python):
    return python("-m", "roofcast.harness", "bench", "--help")


def test_the_op_enters_the_decode_step_of_the_models_that_need_it(found):
    assert found["roles"] == {"gemma-2-2b": ["logit_softcap"], "llama-3.2-1b": []}


def test_the_implementations_compute_the_reference_or_refuse(found):
    assert found["implementations"] == ["xla.tanh", "exponential.expm1"]
    assert found["refusals"] == ["exponential.expm1: activation_format must be f32; got bf16"]
    assert len(found["errors"]) == 7
    assert max(found["errors"]) <= 1


def test_the_format_rounds_as_far_as_it_says_and_weighs_half_of_bf16(found):
    assert 0.8 < found["rounding"] <= 1
    assert found["narrower"] == pytest.approx(0.5)


def test_the_model_has_the_counts_that_its_file_states(found):
    stated = dict(re.findall(r"^  (\w+): (\S+)$", EXAMPLES["conf/model/pythia-14m.yaml"], re.MULTILINE))
    assert found["counted"]["kv_elements"] == int(stated.pop("kv_elements"))
    for name, text in stated.items():
        assert f"{found['counted'][name]:.4f}" == text


def test_the_device_answers_to_its_alias(found):
    assert found["device"] == ["Radeon_RX_7900_XT", 2, pytest.approx(1000)]


def test_the_examples_pass_the_lint(tree):
    config = ("--no-cache", "--config", str(ROOT / "pyproject.toml"))
    files = [str(tree / "roofcast" / path) for path in EXAMPLES if path.endswith(".py")]
    for command in (("check",), ("format", "--check")):
        done = subprocess.run((sys.executable, "-m", "ruff", *command, *config, *files), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
