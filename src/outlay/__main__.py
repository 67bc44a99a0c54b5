"""`python -m outlay`."""

from outlay.faces.cli import main

if __name__ == "__main__":
    main()
