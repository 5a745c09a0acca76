"""Show it: the self-contained report.html, tables for the terminal, live progress of a study."""

from bitjoule.report.html import ReportError, write_report
from bitjoule.report.units import energy_text, percent_text, size_text

__all__ = ["ReportError", "energy_text", "percent_text", "size_text", "write_report"]
