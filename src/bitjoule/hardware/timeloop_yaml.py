"""An imported Timeloop architecture as the text of a hardware file."""

from __future__ import annotations

import io

from ruamel.yaml import YAML

from bitjoule.hardware.timeloop import TimeloopHardware

__all__ = ["hardware_yaml"]


def hardware_yaml(read: TimeloopHardware) -> str:
    """YAML that `hardware.load` reads to the same Hardware; areas stand above it as comments.

    Raises:
        ValueError: no energy reference table was read, so the numbers are place-holders.
    """
    if not read.priced:
        raise ValueError("a hardware file needs energies: read the architecture with its ERT")
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.width = 110
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = io.StringIO()
    yaml.dump(dict(read.document), stream)
    lines = [f"# area of {name}: {area:g} um2" for name, area in read.areas_um2.items()]
    return "\n".join([*lines, stream.getvalue()])
