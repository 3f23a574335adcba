"""Checkpoints on the Hub: during training, a branch holds what another machine needs to continue the run."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.blocks import PushSettings
from ..config.recipe_files import read_recipe_file, to_yaml
from ..config.run_config import RunConfig
from ..errors import HubError
from ..log import log
from ..run_folder import claim, contents, progress, writing
from .client import as_hub_error, limit_waiting, reason
from .names import shareable
from .push import link_files
from .settings import BRANCH

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback


# What a resumed run does not read: a pickle, and the empty card that PEFT writes.
_LEFT_OUT = ("training_args.bin", contents.CARD)
# Prefix of temporary folders in the folder of the run, where hard links to its files are possible.
_STAGE = ".hub-"


class Checkpoints:
    """Pushes the checkpoints of a run in the background, the newest first, so that another machine can continue it.

    A copy made of links is pushed, since the Trainer may delete a checkpoint during its upload. A failed push is
    printed at once and does not stop the training; the next push uploads everything that is missing.
    """

    def __init__(self, path: Path, config: RunConfig, settings: PushSettings, data: Mapping[str, Any]) -> None:
        self.path, self.config, self.data = path, config, data
        self.repo_id = settings.repo_id
        clean_up(path)
        # The lock guards the next two, which the training and the uploading thread both change.
        self.lock = threading.Lock()
        self.waiting: Path | None = None
        self.thread: threading.Thread | None = None
        self.failed = False

    def push(self, step: int) -> None:
        """Push the checkpoints as they are now: at once, or after the push that is running."""
        try:
            stage = self._fill_stage(step)
        except OSError as error:  # a full disk, for example, is no reason to lose the training
            log(f"hub: cannot prepare the checkpoint at step {step} for the push: {error}; training continues")
            return
        with self.lock:
            # On a slow connection only the newest checkpoints are worth waiting for.
            skipped, self.waiting = self.waiting, stage
            if self.thread is None:
                self.thread = threading.Thread(target=self._work, daemon=True)
                self.thread.start()
        if skipped is not None:
            shutil.rmtree(skipped)

    def _fill_stage(self, step: int) -> Path:
        """A new folder with links to the files of all complete checkpoints, and what identifies the run."""
        stage = Path(tempfile.mkdtemp(prefix=_STAGE, dir=self.path))
        try:
            for checkpoint in progress.complete_checkpoints(self.path):
                files = [file for file in checkpoint.iterdir() if file.name not in _LEFT_OUT]
                link_files(files, stage / checkpoint.name)
                progress.name_best(stage / checkpoint.name, None)
                progress.update_manifest(stage / checkpoint.name)
            (stage / contents.RECIPE).write_text(to_yaml(shareable(self.config)), encoding="utf-8")
            writing.write_json(stage / contents.RUN, {"data": dict(self.data), "step": step})
        except BaseException:  # an interrupt from the keyboard must not leave the folder either
            shutil.rmtree(stage)
            raise
        return stage

    def finish(self) -> None:
        """Wait for the last push."""
        with self.lock:
            thread = self.thread
        if thread is not None:
            log("hub: waiting for the upload of the last checkpoint")
            thread.join()
        clean_up(self.path)

    def _work(self) -> None:
        """Push until nothing is waiting; runs in the background."""
        while True:
            with self.lock:
                stage, self.waiting = self.waiting, None
                if stage is None:
                    # Set under the lock, so that `push` starts a new thread for what comes later.
                    self.thread = None
                    return
            self._push(stage)

    def _push(self, stage: Path) -> None:
        from huggingface_hub import HfApi

        step = json.loads((stage / contents.RUN).read_text(encoding="utf-8"))["step"]
        try:
            limit_waiting()
            HfApi().upload_folder(
                repo_id=self.repo_id,
                folder_path=stage,
                revision=BRANCH,
                delete_patterns=["checkpoint-*/*"],
                commit_message=f"Checkpoint at step {step}",
            )
        except Exception as error:
            self.failed = True
            log(f"hub: the checkpoint at step {step} was not uploaded: {reason(error)}; training continues")
        else:
            if self.failed:
                log(f"hub: the checkpoint at step {step} was uploaded")
            self.failed = False
        finally:
            shutil.rmtree(stage)


def push_callback(checkpoints: Checkpoints, trainer: Trainer) -> TrainerCallback:
    """Callback of the Trainer that pushes each checkpoint that was saved."""
    import transformers

    class PushCheckpoints(transformers.TrainerCallback):  # type: ignore[misc]
        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            trainer.accelerator.wait_for_everyone()  # each process writes a part of the checkpoint
            if state.is_world_process_zero:
                checkpoints.push(state.global_step)

    return PushCheckpoints()


def clean_up(path: Path) -> None:
    """Delete the temporary folders that a killed run may have left."""
    for stage in path.glob(f"{_STAGE}*"):
        shutil.rmtree(stage, ignore_errors=True)


def download(path: Path, config: RunConfig, settings: PushSettings, data: Mapping[str, Any]) -> bool:
    """Download the checkpoints that another machine pushed, if this folder has none; create the branch if missing.

    Args:
        path: Folder of the run.
        config: Settings of the run.
        settings: Settings of the push.
        data: Fingerprint of each split.

    Returns:
        Whether checkpoints were downloaded.

    Raises:
        HubError: The branch holds checkpoints of another run, or a request to the Hub failed.
    """
    from huggingface_hub import HfApi, snapshot_download

    api, name = HfApi(), settings.repo_id
    clean_up(path)
    with as_hub_error(f"hub: cannot look for checkpoints in {name}"):
        if BRANCH not in [branch.name for branch in api.list_repo_refs(name).branches]:
            api.create_branch(name, branch=BRANCH)
            return False
        files = api.list_repo_files(name, revision=BRANCH)
    # Checkpoints of this folder are newer than what was pushed of them, or the same.
    if contents.RUN not in files or any(progress.complete_checkpoints(path)):
        return False
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_STAGE, dir=path) as folder:
        with as_hub_error(f"hub: cannot download the checkpoints of {name}"):
            patterns = ["checkpoint-*", contents.RECIPE, contents.RUN]
            snapshot_download(name, revision=BRANCH, local_dir=folder, allow_patterns=patterns)
        stage = Path(folder)
        _refuse_other_run(stage, config, data, name)
        return _take_over(stage, path, name)


def _take_over(stage: Path, path: Path, name: str) -> bool:
    """Move the downloaded checkpoints into the folder of the run; whether there were some."""
    downloaded = list(progress.complete_checkpoints(stage))
    if not downloaded:
        return False
    for checkpoint in downloaded:
        progress.name_best(checkpoint, path)
    # The newest first: if this is interrupted, the run resumes from the best there is.
    for checkpoint in downloaded:
        checkpoint.replace(path / checkpoint.name)
    log(f"hub: downloaded {downloaded[0].name} from {name}")
    return True


def _refuse_other_run(stage: Path, config: RunConfig, data: Mapping[str, Any], name: str) -> None:
    """Compare settings and rows: with other ones, the weights would not be those of this run."""
    settings = read_recipe_file(stage / contents.RECIPE)
    difference = claim.differences(settings, asdict(shareable(config)))
    if not difference and contents.read_json(stage / contents.RUN)["data"] != dict(data):
        difference = "the rows differ"
    if difference:
        raise HubError(
            f"hub: {name} has checkpoints of another run ({difference}): choose another name, or delete its branch "
            f"{BRANCH}"
        )
