"""How fast hfrecipes is beside other ways to do the same; README.md in this folder shows how to run it."""
