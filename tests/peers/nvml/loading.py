"""Building the stand-in and bringing it into this process."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.peers.nvml.symbols import SOURCE, SYMBOLS
from tests.peers.programs import program

UNINITIALIZED = 1
VARIABLE = "SIGMASCALE_NVML_SCENARIO"
SONAME = "libnvidia-ml.so.1"
INSIDE = "sigmascale-standin.so"
"""The build for this process. It has a name of its own: else the loader would give it to whoever asks for the driver's
library later, and tests that want a machine without a driver would find one."""
FLAGS = ("-std=gnu11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


def library(without: Sequence[str] = ()) -> Path:
    """The folder that holds libnvidia-ml.so.1, built on first use. without: functions that this driver does not know.

    The folder's name says what is inside, so that sessions and the processes of pytest-xdist share one build.
    """
    return _built(SONAME, without).parent


def _built(name: str, without: Sequence[str]) -> Path:
    unknown = sorted(set(without) - set(SYMBOLS))
    if unknown:
        raise ValueError(f"the stand-in has no function {', '.join(unknown)} that could be left out")
    compiler = program("gcc", "gcc", "cc")
    digest = hashlib.sha256(repr((FLAGS, compiler, sorted(without))).encode())
    for source in sorted(SOURCE.iterdir()):
        digest.update(source.name.encode() + source.read_bytes())
    folder = Path(tempfile.gettempdir()) / f"sigmascale-nvml-{os.getuid()}-{digest.hexdigest()[:16]}"
    if not (folder / name).exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        _build(compiler, folder / name, without)
    return folder / name


def _build(compiler: str, target: Path, without: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        versions, output = Path(work) / "symbols.map", Path(work) / target.name
        hidden = "".join(f"{symbol}; " for symbol in without)
        # The linker hides what is left out, so that the loader finds nothing under its name (error 13).
        versions.write_text(f"{{ global: nvml*; standin_*; local: {hidden}*; }};\n")
        names = [f"-Wl,-soname,{target.name}", f"-Wl,--version-script={versions}", "-o", str(output)]
        subprocess.run([compiler, *FLAGS, *names, *sorted(map(str, SOURCE.glob("*.c")))], check=True)
        # Renaming is atomic: another process that builds the same thing never loads half a file.
        output.rename(target)


def load(without: Sequence[str] = ()) -> ModuleType:
    """Make the bindings of this process use the stand-in; gives their module, not yet initialised."""
    import pynvml

    unload()
    bindings: ModuleType = pynvml
    bindings.__dict__["nvmlLib"] = ctypes.CDLL(str(_built(INSIDE, without)))
    return bindings


def unload() -> None:
    """Shut the library down however often it was initialised, and let the bindings forget its functions."""
    import pynvml

    bindings: Any = pynvml
    if bindings.nvmlLib is not None:
        while bindings.nvmlLib.nvmlShutdown() != UNINITIALIZED:
            pass
    bindings.nvmlLib = None
    bindings._nvmlLib_refcount = 0
    bindings._nvmlGetFunctionPointer_cache.clear()
