"""Real processes, killed at chosen points, and run again: nothing is lost, nothing done twice.

``driver.py`` prepares a workplace, kills, reruns and compares; ``faults.py`` is what a process that is to die
carries; ``site`` brings it into the processes that Dagster starts. The production code knows nothing of it.
"""
