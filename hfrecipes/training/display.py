"""What is printed while a model trains: a line for each evaluation; a bar on a terminal, a table in a notebook."""

from __future__ import annotations

import contextlib
import html
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..log import in_notebook, log

if TYPE_CHECKING:
    from transformers import Trainer, TrainerState, TrainingArguments


def show_progress(trainer: Trainer, metric: str) -> None:
    """Replace the Trainer's own display, which `log_level=info` and `log_level=debug` keep.

    Args:
        trainer: The Trainer.
        metric: Score of validation that is shown where no metric chooses the checkpoint.
    """
    if trainer.args.log_level in ("info", "debug"):
        return
    _upstream.remove_display(trainer)
    trainer.add_callback(_file_bars())
    if trainer.is_world_process_zero():
        trainer.add_callback(_callback(metric))


def _file_bars() -> Any:
    """Hides the bars of each file of weights while the Trainer trains, whoever calls `train`."""
    import transformers

    class FileBars(transformers.TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.hidden = contextlib.ExitStack()
            self.hidden.enter_context(_upstream.without_bars_of_files())

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.hidden.close()

    return FileBars()


@dataclass
class Moment:
    """What is known of a training after some of its steps."""

    when: str
    """Such as `epoch 2/5`."""
    loss: float | None
    score: float | None
    """Score of validation."""
    is_best: bool
    seconds: float

    def sentence(self, metric: str) -> str:
        """One line, such as `epoch 2/5  loss 1.07  validation accuracy 0.938 (best)  0:21`."""
        parts = [self.when]
        if self.loss is not None:
            parts.append(f"loss {_short(self.loss)}")
        if self.score is not None:
            parts.append(f"validation {metric} {_short(self.score)}{' (best)' if self.is_best else ''}")
        return "  ".join([*parts, _clock(self.seconds)])


def _short(number: float) -> str:
    return f"{number:.3f}" if 0.1 <= abs(number) < 1000 or number == 0 else f"{number:.3g}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def when(args: TrainingArguments, state: TrainerState) -> str:
    """The epoch that has just ended, or else the number of steps."""
    epoch = _whole_epoch(args, state.epoch)
    if epoch is not None:
        return f"epoch {epoch}/{args.num_train_epochs:g}"
    return f"step {state.global_step}/{state.max_steps}"


def ending(args: TrainingArguments, state: TrainerState) -> str | None:
    """Why training ended before its last step, and whose weights are kept; None where it is as expected."""
    last, kept = when(args, state), None
    best_step = state.best_global_step
    if args.load_best_model_at_end and best_step and best_step != state.global_step:
        kept = f"kept {_name_of(args, state, best_step)}"
    if state.global_step < state.max_steps and args.load_best_model_at_end:
        return "; ".join(filter(None, [f"stopped early after {last.replace('/', ' of ')}", kept]))
    if kept and _tied(args, state):
        return f"{kept}, the first of several with the best score on validation; eval_strategy=no keeps the last"
    return f"{kept}, the best on validation" if kept else None


def _tied(args: TrainingArguments, state: TrainerState) -> bool:
    """Whether several evaluations have the best score, as where a model has not learnt anything yet."""
    name = f"eval_{str(args.metric_for_best_model).removeprefix('eval_')}"
    scores = [entry[name] for entry in state.log_history if name in entry]
    return scores.count(state.best_metric) > 1


def _name_of(args: TrainingArguments, state: TrainerState, step: int) -> str:
    for entry in state.log_history:
        epoch = _whole_epoch(args, entry.get("epoch"))
        if entry["step"] == step and epoch is not None:
            return f"epoch {epoch}"
    return f"step {step}"


def _whole_epoch(args: TrainingArguments, epoch: float | None) -> int | None:
    """The number of an epoch that has ended; None inside of one, and where the steps were given."""
    if epoch is None or args.max_steps > 0 or abs(epoch - round(epoch)) >= 1e-6:
        return None
    return round(epoch)


class _Lines:
    """Prints a line for each evaluation, and one for each loss that is logged between them."""

    def __init__(self, shown_metric: str) -> None:
        self.shown_metric = shown_metric
        self.start: float | None = None
        self.loss: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.start = time.monotonic()
        self.view: _Table | _Bar = _Table(self.shown_metric, state.max_steps) if in_notebook() else _Bar(args, state)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.view.move_to(state.global_step)

    def on_prediction_step(self, args: Any, state: Any, control: Any, eval_dataloader: Any = None, **_: Any) -> None:
        if self.start is not None:
            self.view.evaluate(eval_dataloader)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" not in (logs or {}) or self.start is None:
            return
        self.loss = logs["loss"]
        if not control.should_evaluate:
            self._show(args, state, None, is_best=False)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
        if self.start is None:
            return
        score = (metrics or {}).get(f"eval_{self._metric(args)}")
        # Weights before the first step, which `eval_on_start` scores, are never kept.
        picks = args.load_best_model_at_end and state.global_step > 0
        is_best = score is not None and picks and _is_better(score, args, state)
        self._show(args, state, score, is_best=is_best)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.view.close()
        self.start = None
        sentence = ending(args, state)
        if sentence:
            log(sentence)

    def _metric(self, args: Any) -> str:
        return str(args.metric_for_best_model or self.shown_metric).removeprefix("eval_")

    def _show(self, args: Any, state: Any, score: float | None, *, is_best: bool) -> None:
        seconds = time.monotonic() - (self.start or 0)
        moment = Moment(when(args, state), self.loss, score, is_best, seconds)
        self.loss = None
        self.view.show(moment, self._metric(args))


def _callback(shown_metric: str) -> Any:
    import transformers

    class Display(_Lines, transformers.TrainerCallback):  # type: ignore[misc]
        pass

    return Display(shown_metric)


def _is_better(score: float, args: TrainingArguments, state: TrainerState) -> bool:
    """Whether a score is better than the best one before it, which the Trainer replaces after callbacks saw it."""
    if state.best_metric is None:
        return True
    difference = score - float(state.best_metric)
    return difference > 0 if args.greater_is_better else difference < 0


class _Bar:
    """Lines, and below them a bar on a terminal."""

    def __init__(self, args: TrainingArguments, state: TrainerState) -> None:
        from tqdm import tqdm

        self.is_shown = sys.stderr.isatty() and not args.disable_tqdm
        hidden = not self.is_shown
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, leave=False, disable=hidden, desc="Training")
        self.evaluation: Any = None

    def move_to(self, step: int) -> None:
        self.bar.update(step - self.bar.n)

    def evaluate(self, batches: Any) -> None:
        from tqdm import tqdm

        if not self.is_shown or not hasattr(batches, "__len__"):
            return
        if self.evaluation is None:
            self.evaluation = tqdm(total=len(batches), leave=False, desc="Validation")
        self.evaluation.update(1)

    def show(self, moment: Moment, metric: str) -> None:
        if self.evaluation is not None:
            self.evaluation.close()
            self.evaluation = None
        with self.bar.external_write_mode(file=sys.stderr):
            log(moment.sentence(metric))

    def close(self) -> None:
        self.bar.close()


class _Table:
    """One table in a notebook, which grows by a row for each evaluation."""

    def __init__(self, metric: str, last_step: int) -> None:
        self.last_step = last_step
        self.rows: list[str] = []
        self.heads = ["", "training loss", f"validation {metric}", "time"]
        self.handle: Any = None
        self.step, self.last_drawn = "", 0.0

    def move_to(self, step: int) -> None:
        self.step = f"step {step} of {self.last_step}"
        if time.monotonic() - self.last_drawn > 1:
            self._draw()

    def evaluate(self, batches: Any) -> None:
        pass

    def show(self, moment: Moment, metric: str) -> None:
        self.heads[2] = f"validation {metric}"
        loss, score = ("" if number is None else _short(number) for number in (moment.loss, moment.score))
        cells = [moment.when, loss, f"<b>{score}</b>" if moment.is_best else score, _clock(moment.seconds)]
        self.rows.append("".join(f"<td>{cell}</td>" for cell in cells))
        self._draw()

    def close(self) -> None:
        self.step = ""
        self._draw()

    def _draw(self) -> None:
        from IPython.display import HTML, display

        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.heads)
        body = "".join(f"<tr>{row}</tr>" for row in self.rows)
        shown = HTML(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{self.step}")
        self.last_drawn = time.monotonic()
        if self.handle is None:
            self.handle = display(shown, display_id=True)
        else:
            self.handle.update(shown)
