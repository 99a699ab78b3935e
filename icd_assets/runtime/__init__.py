"""The machine: locks, devices, interrupts, processes, progress, seeds."""
