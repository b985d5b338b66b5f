"""What a process that trains a sweep's jobs imports: a list of names, for the server that forks such processes."""

from lossbench.runs.preload import RUN

SWEEP = (*RUN, "lossbench.sweep.stacks", "lossbench.sweep.dispatch")
