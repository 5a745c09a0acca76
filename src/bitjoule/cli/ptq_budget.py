"""Mixed precision for `bitjoule ptq`: sensitivities, the exact programme, how well it foretells losses."""

from __future__ import annotations

import dataclasses
import math
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from bitjoule.network import Network
    from bitjoule.search.programme_energy import EnergyTable
    from bitjoule.train.ptq import PtqConfig
    from bitjoule.train.ptq.sensitivity import Sensitivities
    from bitjoule.zoo import Dataset

__all__ = ["Wanted", "additive", "measured", "real_loss", "within_budget"]

WIDTHS = ("2", "3", "4", "5", "6", "7", "8")
CURVATURES = ("hessian", "fisher")

Say = Callable[[str], object] | None


@dataclass(frozen=True)
class Wanted:
    """Energy per inference on a machine, the kind of sensitivity, and how many networks to check it on."""

    budget_uj: float
    hardware: str
    kind: str
    compare: int


def measured(
    net: Network,
    calibration: Tensor,
    dataset: Dataset,
    scheme: str,
    kind: str,
    config: PtqConfig,
    seed: int,
    say: Say,
    weights: tuple[str, ...] = WIDTHS,
) -> Sensitivities:
    """Sensitivities of every tensor of `net`, of weights at the widths `weights`.

    Kinds that need labels draw labelled training images.
    """
    from bitjoule.train.ptq.sensitivity import sensitivities

    images, labels = _images(kind, calibration, dataset)
    return sensitivities(
        net,
        images,
        weights=weights,
        activations=WIDTHS,
        kind=kind,  # type: ignore[arg-type]  # an unknown one is refused there
        scheme=scheme,
        labels=labels,
        config=config,
        seed=seed,
        progress=say,
    )


def _images(kind: str, calibration: Tensor, dataset: Dataset) -> tuple[Tensor, Tensor | None]:
    """The images that a kind is measured on, with labels where it needs them."""
    import torch

    from bitjoule import zoo

    if kind not in ("loss", "accuracy_drop"):
        return calibration, None
    images, labels = next(iter(zoo.batches(dataset.train, 256, preprocessing=dataset.preprocessing)))
    return images, torch.as_tensor(labels)


def additive(kind: str, values: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Sensitivities whose sum means something: decibels become noise over signal, others stay.

    >>> additive("sqnr", {"fc": {"4": -20.0}})
    {'fc': {'4': 0.01}}
    """
    return {
        tensor: {token: 10 ** (value / 10) if kind == "sqnr" else value for token, value in found.items()}
        for tensor, found in values.items()
    }


def within_budget(
    net: Network,
    calibration: Tensor,
    dataset: Dataset,
    scheme: str,
    wanted: Wanted,
    config: PtqConfig,
    seed: int,
    say: Say,
) -> tuple[str, Sensitivities, dict[str, Any]]:
    """The scheme of least predicted loss within the budget, the sensitivities, entries of the card."""
    from bitjoule import hardware as hardware_room
    from bitjoule.network import fold_batch_norm
    from bitjoule.search.programme import Budget, solve
    from bitjoule.search.programme_energy import energy_table
    from bitjoule.search.programme_genes import network_genes

    described = hardware_room.load(wanted.hardware)
    if say is not None:
        say("energies of every layer at every width")
    table = energy_table(network_genes(fold_batch_norm(net).graph, scheme), described)
    _refuse_less(table.least_pj() / 1e6, wanted, net.name)
    found = measured(net, calibration, dataset, scheme, wanted.kind, config, seed, say)
    if wanted.kind in CURVATURES:  # they are of weights, in the unit of the divergence: nats
        others = measured(net, calibration, dataset, scheme, "kl", config, seed, say, weights=())
        found = type(found)(f"{wanted.kind}, activations kl", found.rows + others.rows)
    programme = table.programme(*(additive(wanted.kind, found.of(role)) for role in ("weight", "activation")))
    answer = solve(programme, Budget(energy_pj=wanted.budget_uj * 1e6))
    chosen = str(table.genes.scheme_of(answer.assignment))
    if say is not None:
        say(
            f"{answer.status}: {answer.energy_uj:.3f} uJ, predicted {wanted.kind} {answer.loss:.4g}: {chosen}"
        )
    predicted: dict[str, Any] = {
        "budget_uj": wanted.budget_uj,
        "hardware": described.name,
        "energy_uj": answer.energy_uj,
        "predicted_loss": answer.loss,
        "sensitivity": wanted.kind,
        "solver": answer.status,
    }
    if wanted.compare:
        predicted |= _compared(net, calibration, dataset, wanted, config, seed, say, table, programme)
    return chosen, found, predicted


def _refuse_less(least_uj: float, wanted: Wanted, name: str) -> None:
    """PtqError, before anything is measured, for a budget that no widths can meet."""
    from bitjoule.train.ptq.config import PtqError

    if least_uj > wanted.budget_uj:
        raise PtqError(
            f"ptq: --budget-uj {wanted.budget_uj:g} is below {least_uj:.4g} uJ, the least that {name} takes "
            f"on {wanted.hardware} at any choice of widths; give at least that, or another --hardware"
        )


def real_loss(kind: str, net: Network, result: Network, calibration: Tensor, dataset: Dataset) -> float:
    """What `result` loses against the float `net`, measured and added up as its sensitivities were.

    Curvatures are compared by kl.
    """
    import torch

    from bitjoule.train.ptq.output_loss import compared

    kind = "kl" if kind in CURVATURES else kind
    images, labels = _images(kind, calibration, dataset)
    images, labels = images[:256], None if labels is None else labels[:256]
    with torch.no_grad():
        found = compared(kind, [net(images)], [result(images)], labels)  # type: ignore[arg-type]
    return float(additive(kind, {"": {"": float(found.double().mean())}})[""][""])


def _compared(
    net: Network,
    calibration: Tensor,
    dataset: Dataset,
    wanted: Wanted,
    config: PtqConfig,
    seed: int,
    say: Say,
    table: EnergyTable,
    programme: Any,
) -> dict[str, Any]:
    """Kendall's tau between predicted and real losses of networks along the front, rounded to nearest."""
    from bitjoule.search.programme_front import programme_front
    from bitjoule.search.programme_sensitivity import agreement
    from bitjoule.train.ptq import PtqWarning, ptq

    quick = dataclasses.replace(config, rounding="nearest", refine="none", reconstruct="none", prune=None)
    kind = "kl" if wanted.kind in CURVATURES else wanted.kind
    answers = programme_front(programme, count=wanted.compare)
    real = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PtqWarning)
        for answer in answers:
            scheme = table.genes.scheme_of(answer.assignment)
            made = ptq(net, calibration, scheme, config=quick, seed=seed)
            loss = real_loss(wanted.kind, net, made, calibration, dataset)
            real.append(loss)
            if say is not None:
                say(
                    f"{answer.energy_uj:.3f} uJ: {wanted.kind} {answer.loss:.4g} predicted, "
                    f"{kind} {loss:.4g} real"
                )
    found = agreement(answers, real)
    if found.warning:
        print(f"warning: {found.warning}", file=sys.stderr)
    return {
        "kendall_tau": None if math.isnan(found.tau) else found.tau,
        "kendall_points": found.points,
        "front": [
            {"energy_uj": a.energy_uj, "predicted_loss": a.loss, "real_loss": loss}
            for a, loss in zip(answers, real, strict=True)
        ],
    }
