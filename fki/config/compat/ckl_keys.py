"""What the keys and methods of the original research code mean here.

The code is CKL's (Jang et al., 2022), its online fork K47, CFInjectBench's and TemporalWiki's; the
comments name one where the others differ. A key that is not in these tables is a setting of fki.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fki.config import renamed_settings
from fki.config.schema import SETTINGS, TABLES
from fki.core import registry

RENAMED_KEYS = {
    "grad_norm": "max_grad_norm",
    "model_type": "method",  # CKL before it had `method`: models_baseline, models_kadapter
    "single_gpu_train_batch_size": "train_batch_size",
    "single_gpu_eval_batch_size": "eval_batch_size",
    "fp16": "mixed_precision",
    "fp_16": "mixed_precision",
    "mem_ratio": "mixreview.ratio",
    "mix_ratio": "mixreview.ratio",
    "mix_decay": "mixreview.decay",
}
IGNORED_KEYS = {  # key: why it is left out; keys with one reason are told together
    **dict.fromkeys(
        ("accelerator", "plugins", "CUDA_VISIBLE_DEVICES"),
        "devices are chosen where processes start: accelerate launch -m fki",
    ),
    **dict.fromkeys(
        ("wandb_log", "wandb_project", "wandb_run_name"),
        "fki reports to no website; every step is in the run's folder",
    ),
    "resume_from_checkpoint": "every run starts anew",
    "mode": "check_validation says whether anything is trained",
    **dict.fromkeys(
        ("stream_mini_batch_size", "granularity"),
        "the stream is cut into periods, by dataset_version",
    ),
    "root_path": "dataset can be a folder itself",
    **dict.fromkeys(
        ("coreset", "coreset_ratio", "finetuning_ratio", "split", "split_num"),
        "fki learns every row of a period",
    ),
    **dict.fromkeys(("len_data", "num_files"), "fki counts the rows itself"),
    "repeat_num": "a batch is one update; num_train_epochs says how often all are seen",
    "red_flag": "rows that change nothing are always left out",
    **dict.fromkeys(("alpha", "temperature", "distil_epoch"), "these are kd's, a method fki lacks"),
}
OLD_NAMES = tuple(name for name in renamed_settings.RENAMED if "." not in name)
KNOWN_KEYS = (
    *(key for key in SETTINGS if key not in TABLES),
    *RENAMED_KEYS,
    *IGNORED_KEYS,
    *OLD_NAMES,
)

# All methods but RecAdam, whose optimizer is its own, ran Adafactor; gradients were clipped at 0.5
# (TemporalWiki's at 0.1).
IMPLIED_SETTINGS = {"optimizer": "adafactor", "max_grad_norm": 0.5}
IMPLIED_ORIGIN = "the originals' default"

RECADAM_PULL = 0.1  # learning_rate * gamma of RecAdam's paper: 2e-5 * 5000


class MethodMapping(NamedTuple):
    """What one of their methods is here: method, options of its table, and what to know of it."""

    method: str
    options: Mapping[str, Any]
    remark: str = ""


def _map_parallel(k: int) -> MethodMapping:
    return MethodMapping(
        f"kadapter_{k}",
        {"kadapter.mode": "parallel"},
        f"{k} equal modules side by side, as CFInjectBench has them. The paper's, {k} blocks in "
        "one module: --set kadapter.mode=stacked",
    )


STACKED = MethodMapping(
    "kadapter_2", {"kadapter.mode": "stacked"}, "one module of 2 blocks, as CKL has it."
)
METHODS = {  # by their spelling, without underscores
    **{alias: MethodMapping(method, {}) for alias, method in registry.ALIASES.items()},
    "vanilla": MethodMapping("vanilla", {}),
    "kadapter": STACKED,
    "kadapters": STACKED._replace(
        remark="one module of 2 blocks, as CKL has it. K47 ran vanilla by this name."
    ),
    "kadapter2": _map_parallel(2),
    "kadapter3": _map_parallel(3),
    "lora": MethodMapping(
        "lora",
        {},
        "r = 4, alpha = 16, scaled by alpha / r = 4. The originals scaled by r / alpha = 0.25, a "
        "mistake; to have that: --set lora.alpha=1",
    ),
    "mixreview": MethodMapping(
        "mixreview",
        {},
        "old examples come from all that was shown before. CFInjectBench kept time-invariant "
        "relations only: --set mixreview.invariant_only=true. CKL reviewed a corpus: --set "
        "mixreview.source=corpus",
    ),
    "modular": MethodMapping(
        "modular",
        {"modular.size": "same"},
        "a second encoder of the first one's size. The paper's small one: --set modular.size=small",
    ),
    "modularsmall": MethodMapping("modular", {"modular.size": "small"}, "a second, small encoder."),
    "recadam": MethodMapping("recadam", {}),  # its remark needs the learning rate
}
METHOD_SPELLINGS = (*METHODS, "kadapter_2", "kadapter_3", "modular_small")
UNSUPPORTED_METHODS = {  # methods of theirs that fki lacks, and what to do instead
    "initial": 'the untouched model. Write "baseline", and "check_validation": true',
    "kd": "knowledge distillation, which fki lacks",
    "kilm": "KILM, which fki lacks",
    "prune": "pruning, which fki lacks",
}
CKL_DATASETS = {"recentnews", "invariantlama", "updatedlama", "newlama", "newlama_easy", "recentqa"}
