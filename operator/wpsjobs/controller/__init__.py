"""The operator: it admits WpsJobs, launches their Kubernetes Jobs, and sees them through.

Data flows one way: ``handlers`` (kopf) fill ``state``, ``loop`` has ``decisions`` look at a view of
it, and ``cluster`` alone carries out what was decided.
"""
