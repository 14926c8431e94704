"""`python -m nasplug`: the command line."""

from nasplug.cli import main

if __name__ == "__main__":
    main()
