"""``kubectl wps``: WpsJobs for people at a terminal.

Of the project it knows ``wpsjobs.api`` alone.
"""
