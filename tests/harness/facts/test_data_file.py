"""Files of users: plain data within bounds, or one sentence."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from roofcast.harness.errors import UsageError
from roofcast.harness.facts.data_file import read

EXAMPLES = int(os.environ.get("ROOFCAST_EXAMPLES", "60"))
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{one}: &a{one} [{','.join([f'*a{one - 1}'] * 9)}]\n" for one in range(1, 8))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{one}: &a{one} {{<<: [{','.join([f'*a{one - 1}'] * 9)}]}}\n" for one in range(1, 11))


@pytest.fixture
def written(tmp_path: Path):
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.yaml", "a: 1\nb: [x, {c: null}]\n", {"a": 1, "b": ["x", {"c": None}]}),
        ("a.yml", "\ufeffa: ü\n", {"a": "ü"}),
        ("a.json", '\ufeff{"a": [1.5, true]}', {"a": [1.5, True]}),
        ("A.JSON", '{"a": "x: y"}', {"a": "x: y"}),
        ("a.yaml", "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n", {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}),
        ("a.yaml", "a: 2026-11-01\nb: 2026-99-99\n", {"a": "2026-11-01", "b": "2026-99-99"}),
    ],
)  # fmt: skip
def test_plain_data_is_read(name: str, text: str, found: Any, written) -> None:
    assert read(written(name, text), "model") == found


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.yaml", "defaults: [x]\n", "has defaults, but nothing of it is composed"),
        ("a.yaml", "a: [{b: {_target_: os.system}}]\n", "has _target_ in a[0].b, but nothing of it is called"),
        ("a.json", '{"_args_": []}', "has _args_, but nothing of it is called"),
        ("a.yaml", 'a: {b: "${oc.env:HOME}"}\n', "has ${ in a.b, but nothing of it is interpolated"),
        ("a.yaml", '"${oc.env:HOME}": 1\n', "has ${ in its keys, but nothing of it is interpolated"),
        ("a.json", r'{"a": ["\u0024{x}"]}', "has ${ in a[0], but nothing of it is interpolated"),
        ("a.json", '{"a": {"b\\u001b": 1}}', "has the key 'b\\x1b', which is no name"),
        ("a.yaml", "a: ???\n", "has no value for a, which is ???"),
        ("a.json", r'{"a": "\ud800"}', "has half of a surrogate pair in a, which no text can hold"),
        ("a.yaml", r'a: "\ud800"', "found invalid Unicode character escape code, at line 1"),
        ("a.yaml", "a: 1\nb: 2\n'a': 3\n", "gives the key 'a' twice"),
        ("a.yaml", "a: {yes: 1, true: 2}\n", "gives the key True twice"),
        ("a.yaml", "<<: {a: 1}\n<<: {b: 1}\n", "twice"),
        ("a.json", '{"a": {"b": 1, "b": 1}}', "gives the key 'b' twice"),
        ("a.yaml", "a: !!python/object/apply:os.system [x]\n", "has the tag"),
        ("a.yaml", "a: !!str 5\n", "has the tag"),
        ("a.yaml", BOMB, "has more than 100,000 values"),
        ("a.yaml", "a: &a [*a]\n", "is nested more than 32 deep"),
        ("a.yaml", "a: &a 1\nb: [" + "*a," * 101 + "]\n", "has more than 100 aliases"),
        ("a.yaml", "a: " + "[" * 100_000, "is nested more than 32 deep"),
        ("a.json", '{"a":' * 100_000, "is nested more than 32 deep"),
        ("a.json", '{"a": ' + "[" * 40 + "]" * 40 + "}", "is nested more than 32 deep"),
        ("a.json", '{"a": [' + "1," * 100_000 + "1]}", "has more than 100,000 values"),
        ("a.json", " " * (4 * 2**20 + 1), "has more than 4,194,304 bytes"),
        ("a.yaml", b"a: \xfc", "is not UTF-8 at byte 3"),
        ("a.yaml", "a: " + "9" * 5000, "digits"),
        ("a.json", '{"a": ' + "9" * 5000 + "}", "digits"),
        ("a.yaml", "a: 1\n---\nb: 1\n", "but found another document, at line 2"),
        ("a.yaml", "? [a]\n: 1\n", "unhashable"),
        ("a.yaml", "- a\n", "holds list"),
        ("a.yaml", "", "holds NoneType"),
        ("a.yaml", "a: [", "at line 2"),
        ("a.yaml", "a: \0", "control characters are not allowed"),
        ("a.json", "{", "line 1 column 2"),
    ],
)
def test_what_is_not_plain_data_is_refused(name: str, content: str | bytes, why: str, written) -> None:
    path = written(name, content)
    with pytest.raises(UsageError) as raised:
        read(path, "model")
    assert str(raised.value).startswith(
        f"model must name a readable file of plain data that holds a mapping of fields; got '{path}'"
    )
    assert why in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_merges_of_merges_do_not_grow(written) -> None:
    assert read(written("a.yaml", MERGES), "model")["a10"] == {"x": 1}


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("fifo.yaml", "zero.yaml"):
        with pytest.raises(UsageError, match="is no regular file"):
            read(tmp_path / name, "device")
    for name, why in (
        ("folder.yaml", "Is a directory"),
        ("none.yaml", "No such file"),
        ("x" * 300, "File name too long"),
        ("\0", "null"),
    ):
        with pytest.raises(UsageError, match=why):
            read(tmp_path / name, "device")


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["${x}", "???", "<<", "=", "1:2", "yes"]),
)
KEYS = st.text(max_size=4) | st.sampled_from(["a", "b", "defaults", "_target_", "<<", "${x}"])
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
SIGNS = [
    *"abx:&*[]{},-?!|>'\"%@`#\n ~\t\0",
    "<<",
    ": ",
    "\n  ",
    "- ",
    "&a ",
    "*a",
    "!!",
    "---\n",
    "...",
    "\\u",
    "${",
    "\ud7ff",
    "1e",
    "0x",
]
TOKENS = st.lists(st.sampled_from(SIGNS), max_size=40).map("".join)
CONTENTS = st.one_of(
    TREES.map(lambda tree: ("t.yaml", yaml.safe_dump(tree, allow_unicode=False).encode())),
    TREES.map(lambda tree: ("t.json", json.dumps(tree).encode())),
    TOKENS.map(lambda text: ("t.yaml", text.encode())),
    TOKENS.map(lambda text: ("t.json", text.encode())),
    st.binary(max_size=60).map(lambda content: ("t.yaml", content)),
)


@settings(max_examples=EXAMPLES)
@given(CONTENTS)
@example(("t.yaml", b"a: &a {<<: *a}"))
def test_any_file_is_data_or_refused(tmp_path_factory: pytest.TempPathFactory, content: tuple[str, bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / content[0]
    path.write_bytes(content[1])
    try:
        found = read(path, "model")
    except UsageError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
        return
    assert isinstance(found, dict)
    assert "${" not in json.dumps(found, default=str)
    json.dumps(found, default=str, ensure_ascii=False).encode()
