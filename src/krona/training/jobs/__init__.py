"""Execute one run as a job.

The modules check the run's settings, claim its folder, start it on one or more devices, record how it ended, and print
a summary.
"""
