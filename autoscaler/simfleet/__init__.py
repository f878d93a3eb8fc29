"""A simulated fleet on real time, with pages of GPUs, under the control of the ordinary service."""
