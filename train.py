"""Start one run, or several runs with -m: python train.py method=krona task=rte"""

from krona.cli.train import train

if __name__ == "__main__":
    train()
