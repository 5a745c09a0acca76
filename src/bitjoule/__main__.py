"""`python -m bitjoule`: the command line where its script is not on the path."""

from bitjoule.cli import main

__all__ = []

if __name__ == "__main__":
    main()
