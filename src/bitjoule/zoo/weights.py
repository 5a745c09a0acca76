"""Loading published weights into a network: safetensors, or torch checkpoints without running their
pickles.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

__all__ = ["WeightsError", "load_weights", "read_weights"]

WRAPPER = "module."  # torch.nn.DataParallel puts it before every key
SHOWN = 6


class WeightsError(ValueError):
    """A weight file that cannot be read, or that does not fit the network."""


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load `path` (`*.safetensors`, or a `torch.save` file of tensors) into `model`, every tensor exactly
    once.

    Takes a bare state dict or a checkpoint that holds one under `state_dict` or `model`; strips the prefix
    `module.`. The model is unchanged when WeightsError is raised: unreadable file, missing or unexpected
    keys, other shapes. Batch norm counters (`num_batches_tracked`), which old checkpoints lack, may be
    absent.

    >>> import tempfile, safetensors.torch
    >>> net, file = nn.Linear(2, 1), Path(tempfile.mkdtemp()) / "net.safetensors"
    >>> safetensors.torch.save_file({"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, file)
    >>> load_weights(net, file); net.weight.tolist()
    [[1.0, 1.0]]
    """
    path = Path(path)
    state = read_weights(path)
    own = model.state_dict()
    missing = sorted(key for key in own if key not in state and not key.endswith("num_batches_tracked"))
    unexpected = sorted(key for key in state if key not in own)
    reshaped = sorted(
        f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    )
    faults = [
        f"{title}: {', '.join(keys[:SHOWN])}{f' and {len(keys) - SHOWN} more' if len(keys) > SHOWN else ''}"
        for title, keys in (
            ("missing keys", missing),
            ("unexpected keys", unexpected),
            ("other shapes", reshaped),
        )
        if keys
    ]
    if faults:
        raise WeightsError(
            f"{path}: these weights are not of this {type(model).__name__}: {'; '.join(faults)}. "
            "Build the network with the options of its training (width, classes, shortcut option)"
        )
    model.load_state_dict(state, strict=True)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of `path` by name, without the prefix `module.`; raises WeightsError."""
    if not path.is_file():
        raise WeightsError(
            f"no weight file {str(path)!r}: expected a .safetensors file or a torch checkpoint"
        )
    content: object
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # torch advises to run what the file says
            reason = "no torch checkpoint, or one with more than tensors"
        raise WeightsError(
            f"{path}: unreadable weights ({reason}). Expected safetensors, or torch.save of tensors only"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(
            f"{path}: holds a {type(content).__name__}, not a non-empty dictionary of tensors by name"
        )
    state: dict[str, Tensor] = {}
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise WeightsError(f"{path}: entry {key!r} is a {type(value).__name__}, not a tensor with a name")
        state[key.removeprefix(WRAPPER)] = value
    return state
