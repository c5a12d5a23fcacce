"""Before jax is imported: eight CPU devices, so that sharding is tested wherever the tests run."""

import atexit
import functools
import gc
import importlib.util
import mmap
import os
import shutil
import tempfile
import traceback
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a worker a core: more threads only wait
# Most of the tests' time is compilation, and many compile the same: workers and runs share it.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _cache = tempfile.mkdtemp(prefix="mmjax-tests-")
    atexit.register(shutil.rmtree, _cache, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# Most of compilation is LLVM's optimisations; `.ci/run` tests numbers with them (`...=0`).
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Programs here run for milliseconds: what counts is to compile them fast. The emitters of fused
# loops take half of all compilation; a named flag wins (`XLA_FLAGS=--xla_cpu_use_fusion_emitters=
# true` compiles as for users). Eight devices cost nothing while they are not used.
_FLAGS = {
    "xla_force_host_platform_device_count": "8",
    "xla_cpu_use_fusion_emitters": "false",
    "xla_cpu_parallel_codegen_split_count": "1",
}


def _known(flags):
    """Those that this XLA has: an unknown one would end the process."""
    root = Path(importlib.util.find_spec("jaxlib").origin).parent
    library = max(root.rglob("*.so"), key=lambda path: path.stat().st_size)
    with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return [flag for flag in flags if text.find(flag.encode()) >= 0]


_missing = [flag for flag in _FLAGS if flag not in os.environ.get("XLA_FLAGS", "")]
if _missing:  # of the process that starts the workers
    _found = [f"--{flag}={_FLAGS[flag]}" for flag in _known(_missing)]
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *_found]).strip()

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

# The same examples everywhere and always; `--hypothesis-profile=default` draws new ones.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.load_profile("same")


@pytest.fixture(autouse=True, scope="session")
def _eight_devices():
    assert jax.device_count() == 8, "jax was imported before tests/conftest.py"


@functools.cache
def _halves():
    """Whether this XLA computes in float16: its compiler needs F16C, which SSE4.2 lacks."""
    try:
        return float(jax.jit(lambda x: x.astype("float32"))(jax.numpy.ones((), "float16"))) == 1
    except jax.errors.JaxRuntimeError:
        return False


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    try:
        return (yield)
    except (jax.errors.JaxRuntimeError, ExceptionGroup) as error:
        if "materialize symbols" in "".join(traceback.format_exception(error)) and not _halves():
            pytest.skip("XLA can't compute in float16 with these instructions")
        raise


_NIGHTLY = Path(__file__).with_name("nightly.txt")


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the marks
def pytest_collection_modifyitems(items):
    """Tests named in `nightly.txt` are slow; a name that a whole module lacks is an error."""
    lines = _NIGHTLY.read_text().splitlines()
    names = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    found = set()
    for item in items:
        whole, kind = item.nodeid, item.nodeid.split("[")[0]
        named = names & {whole, kind}
        found |= named
        if named:
            item.add_marker(pytest.mark.slow)
    functions = {item.nodeid.split("[")[0] for item in items}
    modules = {name.split("::")[0] for name in functions}
    # Parameters of a function and functions of a module may be picked out on the command line.
    gone = {n for n in names - found if n.split("::")[0] in modules}
    if gone and not any("::" in str(a) for a in _arguments_of(items)):
        raise pytest.UsageError(f"{_NIGHTLY.name} names tests that are gone: {sorted(gone)}")


def _arguments_of(items):
    return items[0].config.invocation_params.args if items else ()


# Programs of a module are its own. Kept, they fill gigabytes through which Python's collector walks
# again and again (a suite half as fast), and pieces of memory, of which Linux gives some 65,000.
gc.set_threshold(200_000, 50, 1000)


@pytest.fixture(autouse=True, scope="module")
def _room_for_programs():
    yield
    jax.clear_caches()
    gc.collect()
    gc.freeze()
