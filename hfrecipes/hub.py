"""Push a run to the Hub: what a user needs of it, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import HubError

# Never checkpoints, never training_args.bin, which is a pickle.
PUSHED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "README.md", "recipe.yaml", "adapter/*"]
NOT_PUSHED = ["checkpoint-*", "run.json", "*.bin"]


def _keywords(where: str | dict[str, Any]) -> dict[str, Any]:
    return {"repo_id": where} if isinstance(where, str) else dict(where)


def preflight(where: str | dict[str, Any] | None) -> None:
    """Make sure before training that the push will be allowed.

    Raises:
        HubError: No token, no right to write, a wrong name, or no network.
    """
    if where is None:
        return
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        repository = api.create_repo(**_keywords(where), exist_ok=True).repo_id
        api.auth_check(repository, write=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise HubError(f"hub: cannot write to {_keywords(where)['repo_id']}: {reason}; log in, or drop hub=") from error


def push(path: Path, where: str | dict[str, Any]) -> str:
    """Upload the run's model, card, settings and scores; unchanged files do not travel again.

    Returns:
        Address of the commit.

    Raises:
        HubError: The push failed; the folder is as it was.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        repository = api.create_repo(**_keywords(where), exist_ok=True).repo_id
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=path,
            allow_patterns=PUSHED,
            ignore_patterns=NOT_PUSHED,
            commit_message="Upload with hfrecipes",
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise HubError(f"hub: the push failed, the run in {path} is whole: {reason}") from error
    return str(commit.commit_url)
