"""The command that shows a model in a browser: demo."""

from __future__ import annotations

import threading

import click

from ..errors import require_packages
from ..log import LIBRARIES, explained
from ..output import say
from .serve import HOST, is_local, port_option
from .words import RUN, TRUST


@click.command()
@RUN
@HOST
@port_option(7860)
@click.option("--share", is_flag=True, help="Let Gradio make a public link, through servers of its makers.")
@TRUST
def demo(path: str, host: str, port: int, share: bool, trust: bool) -> None:
    """Try a model in a browser: type a row, see the prediction. Ctrl-C ends it."""
    require_packages("a demo", "gradio")
    from ..predictor import load
    from ..serving.demo import launch, make_demo
    from ..serving.listening import address_of, listening_socket

    with listening_socket(host, port) as listening:
        address = address_of(listening)
    with explained(f"{LIBRARIES}, then the model"):
        page = make_demo(load(path, trust=trust))
    link = launch(page, host, int(address.rpartition(":")[2]), share=share)
    reach = "this machine alone reaches it; --host changes that" if is_local(address) else "other machines reach it"
    say(f"{address}  ({reach})", err=True)
    if link is not None:
        say(f"{link}  (anybody who has this link reaches it)", err=True)
    try:
        threading.Event().wait()
    finally:
        page.close(verbose=False)
