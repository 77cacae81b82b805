"""Uploads an exported folder to the Hugging Face Hub: a new repository, private by default.

An upload never overwrites anything: a repository that contains files is refused, before the export
and once more before the upload.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from fki.core.errors import ConfigError, FkiError
from fki.core.formatting import format_command

REPO = re.compile(r"[\w.-]+/[\w.-]+")
HUB_FILES = {".gitattributes"}  # files that the Hub itself puts into a new repository
Result = TypeVar("Result")


def check_repo(repo: str, *, is_public: bool) -> None:
    """Check that a folder can be uploaded to a repository. Writes nothing.

    Raises:
        ConfigError: the name is not `owner/name`.
        FkiError: no token, no network, the repository contains files, or it is public and
            `is_public` is False.
    """
    if not REPO.fullmatch(repo):
        raise ConfigError(f"--push must be owner/name, not '{repo}'.", hint="Try: --push me/my-t5")
    if get_token() is None:
        raise FkiError(
            "--push needs a token of the Hugging Face Hub. No token found.",
            hint="Run: hf auth login   or set HF_TOKEN to a token with write access.",
        )
    if constants.HF_HUB_OFFLINE:
        raise FkiError(
            "--push needs the Hub, but HF_HUB_OFFLINE is set.", hint="Unset HF_HUB_OFFLINE."
        )
    _call_hub("the token", HfApi().whoami)  # with a wrong token the Hub answers only "not found"
    _call_hub(repo, lambda: _inspect_repo(repo, is_public=is_public))


def push_folder(folder: Path, repo: str, *, is_public: bool) -> str:
    """Upload a folder to a new or empty repository.

    Returns:
        The address of the repository.
    Raises:
        FkiError: the Hub refuses the upload; the folder is unchanged.
    """

    def upload() -> str:
        api = HfApi()
        if _inspect_repo(repo, is_public=is_public) is None:
            api.create_repo(repo, private=not is_public)
        # The upload fails if somebody commits between this look and the upload.
        parent = _inspect_repo(repo, is_public=is_public)
        api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            commit_message="Exported by fki",
            parent_commit=parent or None,
        )
        return f"{constants.ENDPOINT}/{repo}"

    by_hand = format_command("hf", "upload", repo, folder)
    hint = f"{folder} is complete and checked. Upload it by hand: {by_hand}"
    return _call_hub(repo, upload, hint)


def _inspect_repo(repo: str, *, is_public: bool) -> str | None:
    """The head commit of an empty repository; None where the repository does not exist.

    Raises FkiError where it contains files, or is public and `is_public` is False.
    """
    try:
        info = HfApi().model_info(repo)
    except RepositoryNotFoundError:
        return None
    files = {file.rfilename for file in info.siblings or []} - HUB_FILES
    if files:
        raise FkiError(
            f"{repo} exists on the Hub and contains {len(files)} files, such as "
            f"{min(files)}. fki overwrites nothing.",
            hint=f"Try: {format_command('--push', repo + '-2')}   or by hand: "
            f"{format_command('hf', 'upload', repo, 'FOLDER')}",
        )
    if not info.private and not is_public:
        raise FkiError(
            f"{repo} exists on the Hub and is public.",
            hint="Add --public to publish the model, or name a new repository.",
        )
    return info.sha or ""


def _call_hub(subject: str, call: Callable[[], Result], hint: str = "") -> Result:
    """The result of a call to the Hub. Raises FkiError for any error of the client."""
    try:
        return call()
    except FkiError:
        raise
    except HfHubHTTPError as error:
        reason = error.server_message or str(error).splitlines()[0]
        advice = "Check that the token has write access: hf auth whoami"
        raise FkiError(f"The Hub refused {subject}: {reason}", hint=hint or advice) from error
    except Exception as error:  # the client raises many classes for network errors
        first = next(iter(str(error).splitlines()), "")
        raise FkiError(
            f"Cannot reach the Hub at {constants.ENDPOINT}: {type(error).__name__}: {first}",
            hint=hint or "Leave out --push to export without an upload.",
        ) from error
