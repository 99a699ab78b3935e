"""Real processes, struck at chosen points, and run again: nothing is lost, nothing done twice.

Struck is: killed, stopped, interrupted, left without disk, inodes, memory or locks, or with its clock set back.
``driver.py`` prepares a workplace, strikes, reruns and compares; ``faults.py`` is what a process that is to be
struck carries; ``site`` brings it into the processes that Dagster starts. The production code knows nothing of it.
"""
