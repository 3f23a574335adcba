"""Checkpoints on the Hub: while a run goes on, a branch holds what another machine needs to go on with it."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import run_folder
from ..config import RunConfig, read_recipe_file, to_yaml
from ..errors import HubError
from ..log import log
from .client import as_hub_error, bound_answers, reason
from .names import portable
from .push import link_files
from .settings import BRANCH
from .settings import keywords as settings_keywords

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback


STATE = "trainer_state.json"
# What a resume does not read: a pickle, and the empty card that PEFT leaves.
_LEFT_OUT = ("training_args.bin", run_folder.CARD)
_STAGE = ".hub-"


class Checkpoints:
    """Pushes the checkpoints of a run in the background, the newest first, so that another machine can go on.

    What is pushed is a copy made of links: the Trainer may delete a checkpoint while it travels. A push that fails is
    said at once and does not stop the training; the next one carries all that lacks.
    """

    def __init__(self, path: Path, config: RunConfig, about: Mapping[str, Any]) -> None:
        self.path, self.config, self.about = path, config, about
        clean_up(path)
        self.lock = threading.Lock()
        self.waiting: Path | None = None
        self.thread: threading.Thread | None = None
        self.failed = False

    def push(self, step: int) -> None:
        """Have the checkpoints as they are now pushed, at once or when the push that goes on is over."""
        try:
            stage = self._stage(step)
        except OSError as error:  # a full disk, for one: no reason to lose the training
            log(f"hub: the checkpoint at step {step} could not be put together: {error}; training goes on")
            return
        with self.lock:
            skipped, self.waiting = self.waiting, stage
            if self.thread is None:
                self.thread = threading.Thread(target=self._work, daemon=True)
                self.thread.start()
        if skipped is not None:
            shutil.rmtree(skipped)

    def _stage(self, step: int) -> Path:
        stage = Path(tempfile.mkdtemp(prefix=_STAGE, dir=self.path))
        try:
            for checkpoint in run_folder.whole_checkpoints(self.path):
                files = [file for file in checkpoint.iterdir() if file.name not in _LEFT_OUT]
                link_files(files, stage / checkpoint.name)
                _name_best(stage / checkpoint.name / STATE, None)
            (stage / run_folder.RECIPE).write_text(to_yaml(portable(self.config)), encoding="utf-8")
            run_folder.write_json(stage / run_folder.RUN, {"data": self.about["data"], "step": step})
        except BaseException:
            shutil.rmtree(stage)
            raise
        return stage

    def finish(self) -> None:
        """Wait for the last push."""
        with self.lock:
            thread = self.thread
        if thread is not None:
            log("hub: waiting for the last checkpoint to arrive")
            thread.join()
        clean_up(self.path)

    def _work(self) -> None:
        while True:
            with self.lock:
                stage, self.waiting = self.waiting, None
                if stage is None:
                    self.thread = None
                    return
            self._push(stage)

    def _push(self, stage: Path) -> None:
        from huggingface_hub import HfApi

        name = settings_keywords(self.config.hub)["repo_id"]
        step = json.loads((stage / run_folder.RUN).read_text(encoding="utf-8"))["step"]
        try:
            bound_answers()
            HfApi().upload_folder(
                repo_id=name,
                folder_path=stage,
                revision=BRANCH,
                delete_patterns=["checkpoint-*/*"],
                commit_message=f"Checkpoint at step {step}",
            )
        except Exception as error:
            self.failed = True
            log(f"hub: the checkpoint at step {step} did not arrive: {reason(error)}; training goes on")
        else:
            if self.failed:
                log(f"hub: the checkpoint at step {step} arrived")
            self.failed = False
        finally:
            shutil.rmtree(stage)


def callback(checkpoints: Checkpoints, trainer: Trainer) -> TrainerCallback:
    """What the Trainer calls when it has saved a checkpoint."""
    import transformers

    class PushCheckpoints(transformers.TrainerCallback):  # type: ignore[misc]
        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            trainer.accelerator.wait_for_everyone()  # each process writes a part of it
            if state.is_world_process_zero:
                checkpoints.push(state.global_step)

    return PushCheckpoints()


def clean_up(path: Path) -> None:
    """Take away what a run that was killed left of checkpoints on their way."""
    for stage in path.glob(f"{_STAGE}*"):
        shutil.rmtree(stage, ignore_errors=True)


def fetch(path: Path, config: RunConfig, data: Mapping[str, Any]) -> bool:
    """Bring the checkpoints that another machine pushed, where this folder has none; make the branch for new ones.

    Args:
        path: Folder of the run.
        config: Settings of the run.
        data: Fingerprint of each split.

    Returns:
        Whether there were some.

    Raises:
        HubError: The branch holds checkpoints of another run, or the Hub could not be reached.
    """
    from huggingface_hub import HfApi, snapshot_download

    api, name = HfApi(), settings_keywords(config.hub)["repo_id"]
    clean_up(path)
    with as_hub_error(f"hub: cannot look for checkpoints in {name}"):
        if BRANCH not in [one.name for one in api.list_repo_refs(name).branches]:
            api.create_branch(name, branch=BRANCH)
            return False
        files = api.list_repo_files(name, revision=BRANCH)
    if run_folder.RUN not in files or any(run_folder.whole_checkpoints(path)):
        return False
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_STAGE, dir=path) as place:
        with as_hub_error(f"hub: cannot fetch the checkpoints of {name}"):
            wanted = ["checkpoint-*", run_folder.RECIPE, run_folder.RUN]
            snapshot_download(name, revision=BRANCH, local_dir=place, allow_patterns=wanted)
        return _take_over(Path(place), path, config, data, name)


def _take_over(stage: Path, path: Path, config: RunConfig, data: Mapping[str, Any], name: str) -> bool:
    _refuse_other_run(stage, config, data, name)
    newest = next(run_folder.whole_checkpoints(stage), None)
    if newest is None:
        return False
    for checkpoint in run_folder.whole_checkpoints(stage):
        _name_best(checkpoint / STATE, path)
    for checkpoint in list(run_folder.whole_checkpoints(stage)):
        checkpoint.replace(path / checkpoint.name)
    log(f"hub: fetched {newest.name} from {name}")
    return True


def _refuse_other_run(stage: Path, config: RunConfig, data: Mapping[str, Any], repository: str) -> None:
    there = read_recipe_file(stage / run_folder.RECIPE)
    sentence = run_folder.differences(there, asdict(portable(config)))
    if not sentence and run_folder.read_json(stage / run_folder.RUN)["data"] != dict(data):
        sentence = "the rows are others"
    if sentence:
        raise HubError(
            f"hub: {repository} has checkpoints of another run ({sentence}): choose another name, or delete its branch "
            f"{BRANCH}"
        )


def _name_best(file: Path, path: Path | None) -> None:
    """Have a checkpoint name the best one by its folder alone, or by its place below `path`."""
    state = json.loads(file.read_text(encoding="utf-8"))
    best = state.get("best_model_checkpoint")
    if best:
        state["best_model_checkpoint"] = str(path / Path(best).name) if path else Path(best).name
        file.unlink()  # it may be a link
        file.write_text(json.dumps(state, indent=2), encoding="utf-8")
