"""An exported folder to the Hugging Face Hub: a new repository, private unless asked otherwise.

Nothing on the Hub is ever overwritten: a repository that holds anything is refused, before the
export and once more before the upload.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from fki.core.errors import ConfigError, FkiError

REPO = re.compile(r"[\w.-]+/[\w.-]+")
HUB_FILES = {".gitattributes"}  # what the Hub itself puts into a new repository
Result = TypeVar("Result")


def check_repo(repo: str, *, is_public: bool) -> None:
    """Can a folder be pushed there? Nothing is written.

    Raises:
        ConfigError: it is no `owner/name`.
        FkiError: there is no token or no network, or the repository holds files, or is public where
            that was not asked for.
    """
    if not REPO.fullmatch(repo):
        raise ConfigError(f"--push must be owner/name, not '{repo}'.", hint="Try: --push me/my-t5")
    if get_token() is None:
        raise FkiError(
            "--push needs a token of the Hugging Face Hub, and there is none.",
            hint="Run: hf auth login   or set HF_TOKEN to one with write access.",
        )
    if constants.HF_HUB_OFFLINE:
        raise FkiError(
            "--push needs the Hub, and HF_HUB_OFFLINE forbids it.", hint="Unset HF_HUB_OFFLINE."
        )
    _call_hub("the token", HfApi().whoami)  # of a wrong one the Hub says no more than "not found"
    _call_hub(repo, lambda: _inspect_repo(repo, is_public=is_public))


def push_folder(folder: Path, repo: str, *, is_public: bool) -> str:
    """Upload a folder. Returns its address.

    Raises FkiError where the Hub refuses; the folder stays as it is.
    """

    def upload() -> str:
        api = HfApi()
        if _inspect_repo(repo, is_public=is_public) is None:
            api.create_repo(repo, private=not is_public)
        parent = _inspect_repo(
            repo, is_public=is_public
        )  # a commit in between makes the upload fail
        api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            commit_message="Exported by fki",
            parent_commit=parent or None,
        )
        return f"{constants.ENDPOINT}/{repo}"

    again = f"The folder {folder} is whole and checked. By hand: hf upload {repo} {folder}"
    return _call_hub(repo, upload, again)


def _inspect_repo(repo: str, *, is_public: bool) -> str | None:
    """The head of a repository that holds nothing, None where there is none.

    Raises FkiError where it holds something, or others can see it and that was not asked for.
    """
    try:
        found = HfApi().model_info(repo)
    except RepositoryNotFoundError:
        return None
    files = {file.rfilename for file in found.siblings or []} - HUB_FILES
    if files:
        raise FkiError(
            f"{repo} is on the Hub already and holds {len(files)} files, such as "
            f"{min(files)}. fki overwrites nothing.",
            hint=f"Try: --push {repo}-2   or by hand: hf upload {repo} FOLDER",
        )
    if not found.private and not is_public:
        raise FkiError(
            f"{repo} is on the Hub already and is public.",
            hint="Add --public if all the world may have the model, or name a new one.",
        )
    return found.sha or ""


def _call_hub(what: str, ask: Callable[[], Result], hint: str = "") -> Result:
    """What is asked of the Hub. Raises FkiError for whatever the client raises."""
    try:
        return ask()
    except FkiError:
        raise
    except HfHubHTTPError as error:
        reason = error.server_message or str(error).splitlines()[0]
        advice = "Is the token one with write access?   hf auth whoami"
        raise FkiError(f"The Hub refused {what}: {reason}", hint=hint or advice) from error
    except Exception as error:  # of the network, whatever its name
        first = next(iter(str(error).splitlines()), "")
        raise FkiError(
            f"The Hub at {constants.ENDPOINT} cannot be reached: {type(error).__name__}: {first}",
            hint=hint or "Leave --push out to export without it.",
        ) from error
