"""`python -m hfrecipes`, so that torchrun and accelerate launch need no launcher of ours."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="hfrecipes")
