"""Names as people type them, against the real models."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from roofcast.harness.errors import UsageError
from roofcast.harness.facts import catalogue

# Every model label of a collection of 252 published decode throughputs, and the file that describes it.
PUBLISHED_LABELS = {
    "Llama-2-7B": "llama-2-7b",
    "Llama-2-70B": "llama-2-70b",
    "Llama-3.1-8B": "llama-3.1-8b",
    "Llama-3.1-70B": "llama-3.1-70b",
    "Llama-3.1-405B": "llama-3.1-405b",
    "Mixtral-8x7B": "mixtral-8x7b",
    "GPT-3-175B": "gpt3-175b",
    "GPT-89B(FT)": "gpt-89b",
    "Megatron-530B": "megatron-530b",
    "GPT-20B(FT 44Lx48hx128)": "gpt-20b",
    "BLOOM-176B": "bloom-176b",
    "Llama-3-8B": "llama-3-8b",
    "Mistral-7B": "mistral-7b-v0.1",
    "Llama-3-70B": "llama-3-70b",
    "Qwen2-7B": "qwen2.5-7b",
    "Qwen2-72B": "qwen2.5-72b",
    "Llama-1-7B": "llama-1-7b",
    "Llama-2-13B": "llama-2-13b",
    "CodeLlama-34B": "codellama-34b",
    "TinyLlama-1.1B": "tinyllama-1.1b",
    "Qwen3-0.6B": "qwen3-0.6b",
    "Qwen3-1.7B": "qwen3-1.7b",
    "Qwen3-4B": "qwen3-4b",
    "Qwen3-8B": "qwen3-8b",
    "Qwen3-14B": "qwen3-14b",
    "Qwen3-32B": "qwen3-32b",
    "Qwen3-30B-A3B": "qwen3-30b-a3b",
    "Qwen3-235B-A22B": "qwen3-235b-a22b",
    "Qwen2.5-0.5B": "qwen2.5-0.5b",
    "Qwen2.5-1.5B": "qwen2.5-1.5b",
    "Qwen2.5-14B": "qwen2.5-14b",
    "Qwen2.5-32B": "qwen2.5-32b",
    "Qwen2.5-72B": "qwen2.5-72b",
    "DeepSeek-R1-671B": "deepseek-v3-671b",
    "Llama-4-Maverick": "llama-4-maverick",
    "Llama-3.2-1B": "llama-3.2-1b",
    "gpt-oss-120b": "gpt-oss-120b",
    "gpt-oss-20b": "gpt-oss-20b",
    "Qwen3-Coder-30B-A3B": "qwen3-coder-30b-a3b",
    "Qwen2.5-Coder-7B": "qwen2.5-7b",
    "Llama-3.3-70B": "llama-3.1-70b",
    "Llama-3.2-3B": "llama-3.2-3b",
}


@pytest.mark.parametrize(("label", "name"), PUBLISHED_LABELS.items())
def test_every_published_label_has_a_model(label: str, name: str) -> None:
    assert catalogue.resolve("model", label) == name


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("gpt3-175b", "gpt3-175b"),
        ("GPT-4", "gpt-4-rumoured"),
        ("Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("llama 3.2 1b", "llama-3.2-1b"),
        ("DeepSeek-R1", "deepseek-v3-671b"),
        ("QWEN2_5_72B", "qwen2.5-72b"),
        ("gpt2", "gpt2"),
    ],
)
def test_spellings(spelling: str, name: str) -> None:
    assert catalogue.resolve("model", spelling) == name


@given(st.data())
def test_case_and_punctuation_do_not_count(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(catalogue.names("model")))
    pieces = re.sub("[^a-z0-9]", "", name)
    typed = "".join(
        data.draw(st.sampled_from([letter, letter.upper()])) + data.draw(st.sampled_from(["", "-", "_", ".", " "]))
        for letter in pieces
    )
    assert catalogue.resolve("model", typed) == name


@pytest.mark.parametrize("group", ["model", "device"])
def test_no_two_files_share_a_spelling(group: str) -> None:
    meant: dict[str, set[str]] = {}
    for name in catalogue.names(group):
        for spelling in (name, *catalogue.facts(group, name).get("aliases", ())):
            meant.setdefault(re.sub("[^a-z0-9]", "", spelling.lower()), set()).add(name)
    assert {key: files for key, files in meant.items() if len(files) > 1} == {}


def test_names_are_sorted_and_bare() -> None:
    names = catalogue.names("model")
    assert list(names) == sorted(names)
    assert not any(name.endswith(".yaml") for name in names)


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    with pytest.raises(UsageError, match=r"model must be .* got 'llama-3\.3-1b'; did you mean .*llama-3\.2-1b") as caught:
        catalogue.resolve("model", "llama-3.3-1b")
    assert "qwen" not in str(caught.value)


def test_a_name_near_nothing_gets_all_of_them() -> None:
    with pytest.raises(UsageError, match="got 'zzz'; known: ") as caught:
        catalogue.resolve("model", "zzz")
    assert all(name in str(caught.value) for name in catalogue.names("model"))
