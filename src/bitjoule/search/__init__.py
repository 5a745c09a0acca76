"""Which scheme? Spaces, Pareto fronts, comparisons, and studies that can be killed and go on."""
