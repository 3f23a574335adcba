"""Run the command as `python -m hfrecipes`."""

# torchrun and accelerate launch can start a module, so no launcher of our own is needed.
from .cli import main

if __name__ == "__main__":
    main(prog_name="hfrecipes")
