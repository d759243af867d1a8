"""Overrides as people type them: names in any spelling, files of one's own, and errors in one sentence."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import UsageError
from ..facts import catalogue
from ..facts.devices import HERE
from .own_files import entry, is_file
from .quoting import literal, texts
from .schemas import SCHEMAS, FormatChoice, KernelChoice, Timing

_GROUP = re.compile(r"[+~]*(?:model|device|format|kernel|timing|experiment|hydra/\w+)(?:@[\w.:]*)?")
_OUTSIDE = re.compile(r"\.\.|(?:^|[\s'\"(\[,])/")
"""What leads out of the folder of a group's entries."""
_PATHS = ("results", "output", "plots", "rows", "published", "kernels", "steps", "weights", "hydra.sweep.dir")
_NAMES = ("engine", "model.name")
_TEXTS = (*_PATHS, *_NAMES, "base", "head", "save", "suite", "xla_flags")
"""Keys whose values are texts: paths, names, in which a comma is a sweep's, git's commits, what pytest or XLA is given."""
_SWEEPS = {"-m", "--multirun"}
_SWEEP_MODE = "hydra.mode=MULTIRUN"
_WRITES = ("output", "plots", "rows")
"""What is written, and would be written anew by each job of a sweep."""


def prepared(overrides: Sequence[str]) -> list[str]:
    """Overrides with models and devices under the names that Hydra knows, and texts as its grammar takes them.

    `model=FILE` and `device=FILE` are files like those in `conf/`, or a model's of Hugging Face or Cerebras Model Zoo; each
    becomes an entry of its group. Everything else is left to Hydra.

    Raises:
        UsageError: for a name that no file or alias has, a file that cannot be read or is wrong, a choice that is a path, or a
            home folder of nobody.
    """
    # Hydra's own parser takes no overrides on both sides of an option.
    flags = [one for one in overrides if one in _SWEEPS]
    is_sweep = bool(flags) or _SWEEP_MODE in overrides
    return [*flags, *(_prepared(one, is_sweep) for one in overrides if one not in _SWEEPS)]


def check_written_once(overrides: Sequence[str]) -> None:
    """Raises UsageError for a file that each job of a sweep would write anew."""
    if not {*_SWEEPS, _SWEEP_MODE} & set(overrides):
        return
    for one in overrides:
        key, found = one.partition("=")[0], texts(one, is_sweep=True)
        if key in _WRITES and found is not None and len(found) == 1 and "$" not in found[0]:
            raise UsageError(
                f"{key} must name another file for every job of a sweep, such as "
                f"{key}='x-${{hydra:job.num}}.csv'; got {found[0]!r}"
            )


def check_replaces_nothing_read(overrides: Sequence[str]) -> None:
    """Raises UsageError for a file that would be written over what the same command reads."""
    files = [
        (key, Path(name.strip()).expanduser())
        for key, right, one in ((*one.partition("=")[::2], one) for one in overrides)
        for name in ([right] if _is_there(right) else texts(one, is_sweep=True) or [])
        if os.path.isfile(os.path.expanduser(name.strip()))
    ]
    for (key, path), (other, source) in itertools.permutations(files, 2):
        if key in _WRITES and other not in _WRITES and path.samefile(source):
            raise UsageError(f"{key} must name another file than {other}, which the same command reads; got {str(path)!r}")


def with_files(words: Sequence[str]) -> list[str]:
    """The words of a command line whose first ones name files, as overrides."""
    named = list(itertools.takewhile(_names_a_file, words))
    listed = ",".join(literal(home("files", name)) for name in named)
    return [*([f"files=[{listed}]"] if named else []), *words[len(named) :]]


def _names_a_file(word: str) -> bool:
    key = word.partition("=")[0]
    if word.startswith("-") or key in _keys("import"):
        return False
    return "=" not in word or os.path.exists(word)


def home(key: str, path: str) -> str:
    """The path with `~` as the home folder, which a shell makes of it only where it is a word's beginning.

    Raises:
        UsageError: if there is no such user.
    """
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        raise UsageError(f"{key} must be a path, in which ~ stands for a home folder; got {path!r}, and no such user") from None


def _prepared(override: str, is_sweep: bool) -> str:
    key, equals, right = override.partition("=")
    if not equals or (key, right) == ("device", "null"):
        return override
    found = None
    if key in ("model", "device"):
        found = [right] if right == "null" or (_is_there(right) and is_file(right)) else texts(override, is_sweep=True)
        found = found and [_entry(key, name.strip()) for name in found]
    elif key in _TEXTS:
        # What is there is meant, with its commas.
        found = texts(override, (is_sweep or key in _NAMES) and not (key in _PATHS and _is_there(right)))
        found = found and [_as_text(key, text) for text in found]
    if found is None and _GROUP.fullmatch(key) and _OUTSIDE.search(right):
        raise UsageError(f"{key.lstrip('+~')} must be the name of one entry; got {right!r}, which is a path")
    return override if found is None else f"{key}={','.join(found)}"


def _is_there(path: str) -> bool:
    return os.path.exists(os.path.expanduser(path))


def _as_text(key: str, text: str) -> str:
    said = literal(home(key, text) if key in _PATHS else text)
    if said != text:
        _TYPED[f"{key}={said}"] = f"{key}={text}"
    return said


def _entry(group: str, name: str) -> str:
    if (group, name) == ("device", HERE):
        return HERE
    if not is_file(name):
        return catalogue.resolve(group, name)
    path = Path(home(group, name))
    found = entry(group, path)
    _TYPED[f"{group}={found}"] = f"{group}={path.resolve()}"
    return found


_TYPED: dict[str, str] = {}
"""Override as Hydra got it -> as it was typed, where `prepared` changed more than the spelling of a name."""


def of_job() -> list[str]:
    """The overrides of the job that runs, references in them as they stand: what they refer to may be nobody's business."""
    given: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return list(given)


def as_typed(overrides: Sequence[str]) -> str:
    """The overrides of a job as they are typed in a shell: a file where `prepared` made an entry of it."""
    return shlex.join(_TYPED.get(one, one) for one in overrides)


def reproducing(overrides: Sequence[str]) -> str:
    """Of the overrides of a job those that repeat its measurement, as they are typed in a shell.

    Where its table was written is left out, which repeating it would replace.
    """
    return as_typed([one for one in overrides if one.partition("=")[0] not in ("output", "force")])


def typed_words(more: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """What `as_typed` knows, with what another process knew added to it."""
    _TYPED.update(more or {})
    return dict(_TYPED)


def check(config: DictConfig, verb: str) -> None:
    """Resolves what refers to other keys.

    Raises:
        UsageError: for a reference to what is not there, a value that is missing (`???`), a key that `+key=value` added and
            that the verb does not know, one that `~key` took away, or a number beyond all bounds.
    """
    for key in map(str, config):
        if key not in _keys(verb):
            raise UsageError(_unknown_key(key, verb))
    try:
        OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        raise UsageError(explain(error, verb)) from None
    for name in sorted(OmegaConf.missing_keys(config)):
        raise UsageError(f"{name} must have a value; got ???, which stands for none")
    given = dict(_leaves("", OmegaConf.to_container(config)))
    # A key of the same name that is one value, as a verb may have, has no parts.
    parts = [part for part in _PARTS if part in _keys(verb) and given.get(part, {}) == {}]
    for name in (*_keys(verb), *(f"{part}.{one}" for part in parts for one in _fields(_PARTS[part]))):
        if not any(key == name or key.startswith(f"{name}.") for key in given):
            raise UsageError(f"{name} must have a value; ~{name} took it away")
    for name, value in given.items():
        if name in _PATHS and str(value).startswith("~"):
            raise UsageError(f"{name} must be a path; ~ stands for a home folder only where it is typed first; got {value!r}")
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise UsageError(f"{name} must be a whole number of at most {_LARGEST:g}; got {value}")


_LARGEST = 10**15
"""No machine or model has more of anything, and what is multiplied with it still fits the store's 64 bits."""
_PARTS: dict[str, type] = {"timing": Timing, "format": FormatChoice, "kernel": KernelChoice}


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value by its dotted name; an empty mapping is one."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _leaves(f"{name}.{key}" if name else str(key), one)
    elif isinstance(value, list):
        yield name, None
        for one in value:
            yield from _leaves(name, one)
    else:
        yield name, value


def _fields(schema: type) -> tuple[str, ...]:
    return tuple(one.name for one in dataclasses.fields(schema))


def explain(error: Exception, verb: str) -> str:
    """One sentence for a person: which field, what it got, what it takes."""
    if isinstance(error, UsageError):
        return str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"{group} must be one of {', '.join(error.options)}; got {name!r}"
    if isinstance(error, OverrideParseException):
        hint = ", with other signs than letters and digits in quotes: key=\"'a (b)'\"" if "=" in error.override else ""
        return f"overrides must have the form key=value{hint}; got {error.override!r}"
    text = _one_line(error)
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    for pattern, sentence in _SENTENCES:
        if found := re.search(pattern, f"{text}; {_one_line(cause)}; {getattr(cause, 'full_key', '')}"):
            return sentence.format(*found.groups())
    if unknown := re.search(r"(?:Could not override|Key) '([^']+)'", text):
        return _unknown_key(unknown[1], verb)
    return text


_SENTENCES = (
    (
        r"Unknown plugin class : 'hydra_plugins\.hydra_(\w+)_(launcher|sweeper)\.",
        "hydra/{1} needs the extra {0}, which is not installed: pip install 'roofcast[{0}]'",
    ),
    (r"Value '(.*)' is not a valid bool.*; (\S+)$", "{1} must be true or false; got '{0}'"),
    (r"Value '([^']*)' of type '[^']*' could not be converted to (\w+).*; (\S+)$", "{2} must be of type {1}; got '{0}'"),
    (r"non-optional.*; (\S+)$", "{0} must have a value; got null"),
    (r"is not Optional.*; (\S+)$", "{0} must have a value; got null"),
    (r"Ambiguous value for argument '([^=]*)=([^']*)'", "{0} must be one value, or a sweep over {1} with -m"),
    (r"Interpolation key '([^']*)' not found", "a reference must be to a key that there is; got ${{{0}}}"),
    (r"Config group override must be a string", "a group must be given the name of one entry; got null"),
    (r"Could not load '(\w+)/([^']*)'", "{0} must be the name of one entry; got '{1}'"),
)
"""What Hydra and OmegaConf say, and how to say it in one sentence."""


def _keys(verb: str) -> tuple[str, ...]:
    return _fields(SCHEMAS[verb])


def _unknown_key(key: str, verb: str) -> str:
    known = [*_keys(verb), *(f"{name}.{one}" for name, part in _PARTS.items() for one in _fields(part))]
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(_keys(verb))}"
    return f"{key or 'an empty key'} is not a key of roofcast {verb.replace('_', ' ')}; {hint}"


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not re.match(r"Config search path|provider=|Set the environment|See https", line)]
    return "; ".join(kept) or type(error).__name__
