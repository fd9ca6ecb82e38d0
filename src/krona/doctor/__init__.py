"""`krona doctor`: what a run would find on this machine and in outputs/, and a command for each thing that is wrong."""
