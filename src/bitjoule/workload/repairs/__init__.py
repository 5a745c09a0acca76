"""Binary repairs as rewritings of a Graph: what each one adds, so that every cost model prices it.

One file per family; `repaired_graph` applies the repairs of a Scheme in one fixed order. No torch: the module
that computes the new operators is made in `network/`, from the very same Graph.
"""

from bitjoule.workload.repairs.rewrite import RepairedGraph, repair_graph, repaired_graph

__all__ = ["RepairedGraph", "repair_graph", "repaired_graph"]
