"""``make release-check``: everything that is given to users, built and looked at."""
