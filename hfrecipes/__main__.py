"""Run the command as `python -m hfrecipes`."""

# torchrun and accelerate launch start a module, and need no launcher of our own.
from .cli import main

if __name__ == "__main__":
    main(prog_name="hfrecipes")
