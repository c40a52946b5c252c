"""What all parts of WpsJobs agree on: names, phases, resources, the Execute request, exit codes.

Pure and of the standard library alone, for the worker's supervisor imports it, too.
"""
