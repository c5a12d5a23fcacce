"""Benchmarks: ratios of two implementations within one run, as machines and their load differ."""
