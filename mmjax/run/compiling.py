"""How XLA compiles, for experiments whose time is compilation."""

import importlib.util
import mmap
import os
from pathlib import Path

# The emitters of fused loops take half of LLVM's time on a CPU, and save hardly any afterwards
# where a program runs for a second.
_FLAG = "xla_cpu_use_fusion_emitters"


def compile_fast() -> None:
    """Lets XLA compile for CPUs without its emitters of fused loops, unless XLA_FLAGS says how.

    Call it before JAX has looked for devices. The untuned methods of `experiments.few_shot` took
    140 s instead of 200 s with it; figures may differ in the last digit. Loops that train for
    minutes are better off without.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _FLAG not in flags and _known():
        os.environ["XLA_FLAGS"] = f"{flags} --{_FLAG}=false".strip()


def _known() -> bool:
    """Whether this XLA has the flag: one that it doesn't know would end the process."""
    found = importlib.util.find_spec("jaxlib")
    libraries = list(Path(found.origin).parent.rglob("*.so")) if found and found.origin else []
    if not libraries:
        return False
    largest = max(libraries, key=lambda path: path.stat().st_size)
    try:
        with open(largest, "rb") as file:
            text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return text.find(_FLAG.encode()) >= 0
    except (OSError, ValueError):
        return False
