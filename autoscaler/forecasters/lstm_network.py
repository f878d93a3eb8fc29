"""The network: one LSTM layer over two hours, a layer over what seasons brought, and quantiles of growth from both.

Its weights are arrays in an .npz file, read without pickle: a file of weights can be wrong, but it cannot run code.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoscaler.errors import InputError
from autoscaler.forecasters.grid import Values
from autoscaler.forecasters.lstm_inputs import CHANNELS, CONTEXT, TARGETS, Windows

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
MIDDLE = QUANTILES.index(0.5)
HIDDEN, WIDTH = 48, 48
SHIPPED = "lstm_weights.npz"
MAX_BYTES = 10_000_000

SHAPES: dict[str, tuple[int, ...]] = {
    "lstm.weight_ih_l0": (4 * HIDDEN, CHANNELS),
    "lstm.weight_hh_l0": (4 * HIDDEN, HIDDEN),
    "lstm.bias_ih_l0": (4 * HIDDEN,),
    "lstm.bias_hh_l0": (4 * HIDDEN,),
    "context.weight": (WIDTH, CONTEXT),
    "context.bias": (WIDTH,),
    "both.weight": (WIDTH, HIDDEN + WIDTH),
    "both.bias": (WIDTH,),
    "growth.weight": (len(TARGETS) * len(QUANTILES), WIDTH),
    "growth.bias": (len(TARGETS) * len(QUANTILES),),
}

Weights = Mapping[str, NDArray[np.float32]]


def require_torch() -> None:
    """Raise InputError unless torch is installed; it is looked for and not loaded."""
    if find_spec("torch") is None:
        raise InputError("forecaster lstm needs torch: pip install 'sigmascale[lstm]'")


def untrained(seed: int) -> Any:
    """A network of random weights that says at first that everything stays as it is. Equal seeds give equal ones."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _empty()
        with torch.no_grad():
            nn.init.normal_(network["growth"].weight, std=0.01)
            network["growth"].bias.zero_()
    return network


def network_of(weights: Weights) -> Any:
    """The network with these weights, in single precision."""
    import torch

    network = _empty()
    network.load_state_dict({name: torch.tensor(np.asarray(values)) for name, values in weights.items()})
    return network


def weights_of(network: Any) -> Weights:
    """A copy of the weights as they are now."""
    state = network.state_dict()
    return {name: state[name].detach().cpu().to(dtype=_float32()).numpy().copy() for name in SHAPES}


def forward(network: Any, steps: Any, context: Any) -> Any:
    """Quantiles of growth in usual growths, (origin, target, quantile), ascending; tensors in, a tensor out."""
    import torch
    from torch.nn import functional

    _, (hidden, _) = network["lstm"](steps)
    beside = functional.relu(network["context"](context))
    both = functional.relu(network["both"](torch.cat([hidden[0], beside], dim=1)))
    raw = network["growth"](both).view(-1, len(TARGETS), len(QUANTILES))
    middle = raw[..., MIDDLE : MIDDLE + 1]
    # Distances between neighbours are positive, so that quantiles cannot cross. -0.7 begins them near half a growth.
    apart = functional.softplus(raw - 0.7)
    above = middle + torch.cumsum(apart[..., MIDDLE + 1 :], dim=-1)
    below = middle - torch.flip(torch.cumsum(torch.flip(apart[..., :MIDDLE], [-1]), dim=-1), [-1])
    return torch.cat([below, middle, above], dim=-1)


def growth(weights: Weights, shown: Windows) -> Values:
    """Quantiles of log growth, (origin, target, quantile), on one thread and in double precision."""
    import torch

    with one_thread(), torch.no_grad():
        # In single precision the same origin would come out a little different alone and among others.
        network = network_of(weights).double()
        found = forward(network, torch.from_numpy(shown.steps), torch.from_numpy(shown.context))
        return np.asarray(found.numpy() * shown.usual[:, None, None], dtype=np.float64)


class one_thread:  # noqa: N801 - used like a function, as contextlib's are
    """Torch on one thread: the other cores belong to the tick, and a network this small gains nothing from them."""

    def __enter__(self) -> None:
        import torch

        self._before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        import torch

        torch.set_num_threads(self._before)


# --- files ---------------------------------------------------------------------------------------------------------


def save(path: Path, weights: Weights) -> None:
    """Write weights to an .npz file."""
    arrays: dict[str, Any] = {name: weights[name] for name in SHAPES}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load(path: Path | None) -> Weights:
    """Weights from a file, or those that come with sigmascale. Raises InputError for what is not such a file."""
    if path is None:
        with as_file(files("autoscaler.forecasters") / SHIPPED) as shipped:
            return _read(shipped)
    return _read(path)


def _read(path: Path) -> Weights:
    words = "is no file of weights of this network"
    next_step = "write one with python -m autoscaler.forecasters.lstm_training --out FILE"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: {words}, it has more than {MAX_BYTES:,} bytes; {next_step}")
        # Numpy leaves a file open that it cannot read, if it opened it itself.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: np.asarray(arrays[name], dtype=np.float32) for name in SHAPES if name in arrays.files}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); {next_step}") from error
    except (AttributeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: {words} ({error}); {next_step}") from error
    wrong = [name for name, shape in SHAPES.items() if name not in found or found[name].shape != shape]
    wrong += [name for name in found if name not in wrong and not np.isfinite(found[name]).all()]
    if wrong:
        raise InputError(f"{path}: {words}, {', '.join(wrong)} missing, of another shape or not finite; {next_step}")
    return found


def _empty() -> Any:
    from torch import nn

    return nn.ModuleDict(
        {
            "lstm": nn.LSTM(CHANNELS, HIDDEN, batch_first=True),
            "context": nn.Linear(CONTEXT, WIDTH),
            "both": nn.Linear(HIDDEN + WIDTH, WIDTH),
            "growth": nn.Linear(WIDTH, len(TARGETS) * len(QUANTILES)),
        }
    )


def _float32() -> Any:
    import torch

    return torch.float32
