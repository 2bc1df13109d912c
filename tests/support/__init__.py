"""Helpers of the tests: twins of kernels, made-up data, programs that tests start."""
