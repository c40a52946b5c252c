"""The demonstration: real Executes, the WpsJobs as they move, and the results as pictures."""
