"""What it costs: energy, cycles and memory of one inference of a Workload on a Hardware."""
