"""`python -m fki`, and what `accelerate launch -m fki` starts."""

from fki.commands.app import main

if __name__ == "__main__":
    main()
