"""Run the recipes of one tool: `python -m ptq_tools.child FOLDER TOOL`, the benchmark's side is ptq_peers.py.

FOLDER holds job.json (network, options, widths, seeds, threads) and arrays.npz (weights, calibration images
by seed, images, labels, logits of the float network). One line of JSON per run is added to FOLDER/TOOL.jsonl:
top-1 and agreement in percent, seconds without evaluation; or the reason why there is no number.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ptq_tools.recipe import Forward, Recipe, Refused, Task

__all__ = ["float_network", "main", "one_line"]

SOURCE = Path(__file__).resolve().parents[2] / "src" / "bitjoule"
CHUNK = 250


def main(folder: Path, tool: str) -> None:
    """Every recipe, scheme and seed of the job."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    arrays = np.load(folder / "arrays.npz")
    tensors = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    check_same(float_network(job, tensors), tensors)
    module = importlib.import_module(f"ptq_tools.{tool}_recipes")
    recipes: tuple[Recipe, ...] = module.RECIPES if job["all_recipes"] else module.RECIPES[:1]
    with (folder / f"{tool}.jsonl").open("a", encoding="utf-8") as out:
        for scheme, (weight_bits, activation_bits) in job["schemes"].items():
            for recipe in recipes:
                for seed in job["seeds"]:
                    task = Task(weight_bits, activation_bits, tensors[f"calibration/{seed}"], seed)
                    row = {"scheme": scheme, "recipe": recipe.name, "seed": seed, "note": recipe.note}
                    row |= one_run(recipe, float_network(job, tensors), task, tensors)
                    out.write(json.dumps(row) + "\n")
                    out.flush()


def one_run(recipe: Recipe, model: nn.Module, task: Task, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Quantize and evaluate; a recipe's exception is its reason."""
    torch.manual_seed(task.seed)
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        forward = recipe.run(model, task)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        found = logits(forward, tensors["images"])
    except Refused as error:
        return {"reason": str(error)}
    except Exception as error:
        return {"reason": one_line(error)}
    wanted = tensors["float_logits"].argmax(1)
    return {
        "top1": percent(found, tensors["labels"]),
        "agreement": percent(found, wanted),
        "wall_s": wall,
        "cpu_s": cpu,
    }


def float_network(job: dict[str, Any], tensors: dict[str, Tensor]) -> nn.Module:
    """The zoo's network with the job's weights, evaluation mode.

    The zoo is imported without its data sets: they need packages that a tool's environment may lack.
    """
    if "bitjoule.zoo" not in sys.modules:
        package = types.ModuleType("bitjoule.zoo")
        package.__path__ = [str(SOURCE / "zoo")]
        sys.modules["bitjoule.zoo"] = package
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in job["options"].items()}
    model: nn.Module = importlib.import_module("bitjoule.zoo.registry").build(job["network"], options, 0)
    prefix = "weights/"
    model.load_state_dict({k[len(prefix) :]: v.clone() for k, v in tensors.items() if k.startswith(prefix)})
    return model.eval()


def check_same(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Whether this is the network of the benchmark: equal logits on the first images."""
    wanted = tensors["float_logits"][:CHUNK]
    far = float((logits(model, tensors["images"][:CHUNK]) - wanted).abs().max() / wanted.abs().max())
    if far > 1e-3:
        raise RuntimeError(f"the float network differs here: its logits are {far:.1%} of their range away")


@torch.no_grad()
def logits(forward: Forward, images: Tensor) -> Tensor:
    """Logits of all images."""
    return torch.cat([forward(part).detach() for part in images.split(CHUNK)])


def percent(found: Tensor, labels: Tensor) -> float:
    """Percent of rows whose greatest value stands at the label."""
    return 100 * float((found.argmax(1) == labels).double().mean())


def one_line(error: BaseException) -> str:
    """Kind and first line of an error."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
