"""What the store remembers of a host."""

import dataclasses

import pytest
from roofcast.harness.store.recall import Usual, usual
from roofcast.harness.store.record import Run


def test_what_is_usual_of_a_host_is_the_median_of_its_runs(here, measurement):
    for number, (read_gbs, turns) in enumerate([(20.0, None), (22.0, 8.0), (30.0, 8.4)]):
        ceilings = dataclasses.replace(measurement().ceilings, read_gbs=read_gbs, core_turns_per_us=turns)
        run = Run(run_id=str(number) * 32, roofcast_version="0.1.0")
        here.append([measurement(ceilings=ceilings, run=run)] * 2)
    found, complaint = usual(here, measurement().host.key)
    assert found == Usual(read_gbs=22.0, multiply_add_gflops=100.0, core_turns_per_us=pytest.approx(8.2))
    assert not complaint
    assert usual(here, "another")[0] == Usual()
