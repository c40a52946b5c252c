"""Asynchronous WPS for EOxServer on Kubernetes.

The sub-packages are cut by the place where their code runs: ``controller`` in the operator's pod,
``eoxserver`` inside EOxServer's Django, ``worker`` as the first process of a job pod, ``cli`` on
the user's machine. ``api`` holds what all of them agree on.
"""

__version__ = "0.1.0"
