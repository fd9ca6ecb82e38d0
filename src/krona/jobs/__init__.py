"""One run as a job: claimed, checked, started on one or more devices, recorded and summed up."""
