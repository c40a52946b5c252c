"""What runs in a job pod: a small supervisor as PID 1, and a child that does the work.

The supervisor alone talks to the API server. It imports the standard library and ``wpsjobs.api``
only: a Kubernetes client would cost half a second and 50 MB in every pod.
"""
