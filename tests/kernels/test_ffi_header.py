"""The header of XLA's FFI that is installed: its version, and the offsets that the engine reads and writes at."""

import re
from pathlib import Path

import jax
import pytest
from roofcast.kernels.ffi import engine, frame, unusable
from roofcast.kernels.ffi.frame import api_version

pytestmark = pytest.mark.skipif(unusable() is not None, reason=str(unusable()))


def test_the_version_is_the_headers() -> None:
    major, minor = api_version(jax.ffi.include_dir())
    assert major == engine.API_MAJOR
    assert minor >= 3


@pytest.mark.parametrize(
    "text", ["", "#define XLA_FFI_API_MAJOR 0", "// #define XLA_FFI_API_MAJOR 0\n#define XLA_FFI_API_MINOR 3"]
)
def test_a_header_without_a_version_is_refused(tmp_path: Path, text: str) -> None:
    header = tmp_path / "xla" / "ffi" / "api" / "c_api.h"
    header.parent.mkdir(parents=True)
    header.write_text(text)
    with pytest.raises(ValueError, match="must define XLA_FFI_API_MAJOR and XLA_FFI_API_MINOR"):
        api_version(str(tmp_path))


def test_offsets_are_those_of_the_installed_header() -> None:
    header = Path(jax.ffi.include_dir(), "xla", "ffi", "api", "c_api.h").read_text()
    words: dict[str, int] = {"XLA_FFI_Api_Version": 3, "XLA_FFI_TypeId": 1}

    def offsets(struct: str) -> dict[str, int]:
        """Offset of each field in 64-bit words; two neighbouring ints share one."""
        body = re.search(rf"struct {struct} {{(.*?)\n}}", header, re.DOTALL)
        assert body is not None
        fields = re.findall(r"^ +(?:const )?([\w:]+)(\*{0,2}) ?(?:\((\w+)\)|(\w+));", body[1], re.MULTILINE)
        places, place = {}, 0
        for kind, stars, function, name in fields:
            places[function or name] = place
            place += 1 if stars or function else words.get(kind, 1)
        words[struct] = place
        return places

    api = offsets("XLA_FFI_Api")
    assert tuple(api[f"XLA_FFI_{name}"] for name in ("Error_Destroy", "ThreadPool_Schedule", "ThreadPool_NumThreads")) == (
        engine._ERROR_DESTROY,
        engine._SCHEDULE,
        engine._NUM_THREADS,
    )
    arguments, results, attributes = offsets("XLA_FFI_Args"), offsets("XLA_FFI_Rets"), offsets("XLA_FFI_Attrs")
    call = offsets("XLA_FFI_CallFrame")
    assert (call["extension_start"], call["api"], call["ctx"]) == (engine._EXTENSION, engine._API, engine._CONTEXT)
    assert call["args"] + arguments["args"] == frame._ARGUMENTS
    assert call["rets"] + results["rets"] == frame._RESULTS
    assert frame._ATTRIBUTES == engine._ATTRIBUTES == call["attrs"] + attributes["attrs"]
    buffer = offsets("XLA_FFI_Buffer")
    assert (buffer["data"], buffer["dims"]) == (frame._DATA, frame._DIMS)
    request = offsets("XLA_FFI_ThreadPool_Schedule_Args")
    assert list(request) == ["struct_size", "extension_start", "ctx", "task", "data"]
    assert list(offsets("XLA_FFI_ThreadPool_NumThreads_Args")) == ["struct_size", "extension_start", "ctx", "num_threads"]
    assert list(offsets("XLA_FFI_Error_Destroy_Args")) == ["struct_size", "extension_start", "error"]
