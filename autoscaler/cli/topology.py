"""`sigmascale topology`: how the GPUs of a machine are connected, and which of them work best together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoscaler.errors import InputError, SigmascaleError

if TYPE_CHECKING:
    from collectors.nvml.topology import Topology

FILE_BYTES = 1 << 20
DRIVER_S = 10.0


def topology(
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", "-f", help="NCCL topology (XML) or what `nvidia-smi topo -m` printed; default: this machine."
        ),
    ] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", "-n", min=1, help="Name the best set of so many GPUs.")] = None,
    among: Annotated[
        list[str] | None, typer.Option("--among", help="Choose only of these, such as GPU0,GPU3; repeatable.")
    ] = None,
    gpu_at: Annotated[
        list[str] | None,
        typer.Option("--gpu-at", help="PCI address of a GPU, for NCCL files without device classes; repeatable."),
    ] = None,
    switched_nvlinks: Annotated[
        int,
        typer.Option(min=0, max=36, help="NVLinks of each GPU to NVSwitches, which NCCL files of clouds leave out."),
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON for scripts instead of text for people.")] = False,
) -> None:
    """Show what connects each two GPUs, what that is worth, and the best set of a number of them.

    NV4 = four NVLinks; PIX, PXB, PHB, NODE, SYS = further and further apart on PCIe; ? = not known. The score of a set
    is that of its worst pair, 0 to 1: NVLink 1.0, PIX 0.8, PXB 0.7, PHB 0.5, NODE 0.4, SYS 0.2.

    Examples:

      sigmascale topology --gpus 4

      sigmascale topology --file p4d-24xl.xml --gpus 2 --json
    """
    from collectors.nvml.topology import best_set, set_score

    found = _of_this_machine() if file is None else _of_file(file, _words(gpu_at), switched_nvlinks)
    free = _among(found, _words(among))
    chosen = None if gpus is None else best_set(found, gpus, free)
    if gpus is not None and chosen is None:
        raise InputError(f"--gpus {gpus}: there are only {len(free)} GPUs to choose from")
    if as_json:
        typer.echo(json.dumps(_plain(found, chosen)))
        return
    typer.echo(found.table().expandtabs(8).rstrip() + "\n")
    for number, name in enumerate(found.gpus):
        label = f"GPU{number}"
        typer.echo(f"{label:<8}{name}" if name != label else label)
    typer.echo(f"\nscore of all {len(found.gpus)}: {set_score(found, found.gpus):g}")
    if chosen is not None:
        names = " ".join(f"GPU{found.gpus.index(name)}" for name in chosen)
        typer.echo(f"best {gpus}: {names}, score {set_score(found, chosen):g}")


def _plain(found: Topology, chosen: tuple[str, ...] | None) -> dict[str, Any]:
    from collectors.nvml.topology import gpu_score, pair_score, set_score

    told: dict[str, Any] = {
        "gpus": [{"name": name, "score": gpu_score(found, name)} for name in found.gpus],
        "matrix": [
            [{"path": pair.path, "nvlinks": pair.nvlinks, "p2p": pair.p2p, "score": pair_score(pair)} for pair in row]
            for row in found.matrix()
        ],
        "score": set_score(found, found.gpus),
    }
    if chosen is not None:
        told["best"] = {"gpus": list(chosen), "score": set_score(found, chosen)}
    return told


def _among(found: Topology, given: list[str]) -> tuple[str, ...]:
    """The GPUs to choose of, by name or as GPU0, GPU1 ..."""
    names = {f"GPU{number}": name for number, name in enumerate(found.gpus)} | {name: name for name in found.gpus}
    if unknown := [word for word in given if word not in names]:
        raise InputError(f"--among: {', '.join(unknown)} is no GPU here; there are {', '.join(names)}")
    return tuple(names[word] for word in given) or found.gpus


def _words(given: list[str] | None) -> list[str]:
    return [word.strip() for text in given or () for word in text.split(",") if word.strip()]


def _of_file(file: Path, gpus: list[str], switched_nvlinks: int) -> Topology:
    from collectors.nvml.topology_files import from_nccl, from_smi

    try:
        with file.open("rb") as opened:
            body = opened.read(FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"--file {file}: cannot be read ({error.strerror}); name an existing file") from error
    if len(body) > FILE_BYTES:
        raise InputError(f"--file {file}: is larger than {FILE_BYTES >> 20} MiB, which no topology is")
    text = body.decode("utf-8", errors="replace")
    try:
        return from_nccl(text, gpus, switched_nvlinks) if text.lstrip().startswith("<") else from_smi(text)
    except InputError as error:
        raise InputError(f"--file {file}: {error}") from error
    except ValueError as error:
        raise InputError(f"--gpu-at: {error}") from error


def _of_this_machine() -> Topology:
    """What the driver says, asked on a thread of its own: a GPU that hangs in it must not hang the terminal."""
    import logging
    import threading

    import structlog

    # Standard output is for the answer.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    answers: list[Topology | SigmascaleError] = []

    def ask() -> None:
        try:
            answers.append(_asked())
        except SigmascaleError as error:
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(DRIVER_S)
    if not answers:
        raise SigmascaleError(
            f"the driver gave no answer within {DRIVER_S:g} s; `sigmascale agent` says which GPU hangs"
        )
    if isinstance(answers[0], SigmascaleError):
        raise answers[0]
    return answers[0]


def _asked() -> Topology:
    import pynvml

    from collectors.nvml import topology_nvml
    from collectors.nvml.codes import meaning
    from collectors.nvml.library import Library

    library = Library(deadline_s=DRIVER_S / 2)
    if not library.start():
        raise SigmascaleError(f"this machine's GPUs cannot be asked: {library.detail}; give a file with --file")
    try:
        listed = library.gpus()
        if not listed:
            raise SigmascaleError("the driver lists no GPU; give a file with --file")
        return topology_nvml.read(pynvml, [(info.uuid, handle) for info, handle in listed])
    except pynvml.NVMLError as error:
        raise SigmascaleError(f"the driver refuses: {meaning(int(error.value)).text}") from None
    finally:
        library.stop()
