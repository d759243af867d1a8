"""Which hosts are the same one, and which variables are told of a host."""

import dataclasses

import pytest
from roofcast.harness.host.host import Host, differences, speed_variables

SAME = Host(cpu_model="CPU", architecture="x86_64", affinity=(0, 1), cache_bytes={"L2": 1}, jax_version="0.10.2", backend="cpu")


@pytest.mark.parametrize(
    "change",
    [
        {"load_average_1m": 9.0},
        {"affinity": (2, 3)},
        {"memory_bytes": 5},
        {"numpy_version": "3"},
        {"operating_system": "Linux 7"},
    ],
    ids=str,
)
def test_what_does_not_matter_does_not_change_the_key(change):
    other = dataclasses.replace(SAME, **change)
    assert (other.key, other.machine_key) == (SAME.key, SAME.machine_key)
    assert differences(SAME, other) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"cpu_model": "other"},
        {"cpu_features": ("avx512f",)},
        {"affinity": (0,)},
        {"cpu_quota": 1.5},
        {"governor": "powersave"},
        {"cache_bytes": {"L2": 2}},
        {"hypervisor": True},
    ],
    ids=str,
)
def test_another_machine_has_another_key(change):
    other = dataclasses.replace(SAME, **change)
    assert other.key != SAME.key
    assert other.machine_key != SAME.machine_key
    assert len(differences(SAME, other)) == 1


@pytest.mark.parametrize(
    "change",
    [{"jax_version": "0.12"}, {"environment": {"XLA_FLAGS": "--a"}}, {"backend": "gpu"}, {"numba_version": "1"}],
    ids=str,
)
def test_other_software_keeps_the_machine(change):
    other = dataclasses.replace(SAME, **change)
    assert other.key != SAME.key
    assert other.machine_key == SAME.machine_key
    ((name, values),) = differences(SAME, other).items()
    assert values == (getattr(SAME, name), getattr(other, name))


def test_keys_stay_what_they_were():
    # Stored keys are compared with fresh ones: changing the rule cuts every host off from its history.
    assert Host(cpu_model="CPU", architecture="x86_64").machine_key == "9cc77a96d5d6"
    assert Host(cpu_model="CPU", architecture="x86_64").key == "5cd35c4b019f"


def test_variables_that_change_speed_are_kept():
    environment = {
        "XLA_FLAGS": "--a",
        "JAX_ENABLE_X64": "1",
        "OMP_NUM_THREADS": "2",
        "JAX_COMPILATION_CACHE_DIR": "somewhere",
        "JAX_LOG_COMPILES": "1",
        "NUMBA_CACHE_DIR": "somewhere",
        "PATH": "/bin",
        "MY_XLA_FLAGS": "--b",
    }
    assert speed_variables(environment) == {"JAX_ENABLE_X64": "1", "OMP_NUM_THREADS": "2", "XLA_FLAGS": "--a"}
