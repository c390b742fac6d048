"""The soak test: random commands on random inputs with injected faults, for as long as specified.

``python -m tests.soak --minutes 40 --seed 1`` runs it; ``.ci/run`` runs two minutes of it with a
fixed seed. Commands run in forked children of a process that has imported everything, so that a
case takes a second and not ten. ``cases`` makes the commands, ``faults`` disturbs them, and
``checks`` examines what they leave.
"""
