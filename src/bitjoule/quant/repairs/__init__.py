"""Binary repairs of a Network: the operators they add, and how they change training (training.md section 3).

Names and conflicts stand in `scheme/repairs.py`, rewritings of the Graph in `workload/repairs/`.
"""

from bitjoule.quant.repairs.attention import attention_loss, attention_map
from bitjoule.quant.repairs.bop import Bop
from bitjoule.quant.repairs.heaviside import HeavisideQuantizer
from bitjoule.quant.repairs.settings import RepairSettings, repair_settings
from bitjoule.quant.repairs.stages import TWO_STAGE, Stage
from bitjoule.quant.repairs.teacher import distribution_loss
from bitjoule.quant.repairs.topology import apply, repaired

__all__ = [
    "TWO_STAGE",
    "Bop",
    "HeavisideQuantizer",
    "RepairSettings",
    "Stage",
    "apply",
    "attention_loss",
    "attention_map",
    "distribution_loss",
    "repair_settings",
    "repaired",
]
