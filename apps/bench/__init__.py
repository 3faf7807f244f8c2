"""Benchmarks: our kernels beside baselines and lower bounds."""
