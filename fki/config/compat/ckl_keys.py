"""Keys and methods of the original research code, and their counterparts here.

The code is that of CKL (Jang et al., 2022), its online fork K47, CFInjectBench and TemporalWiki.
Comments name one of them where the others differ. Any other key is a setting of fki.
"""

import re
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
    "alpha": "kd.alpha",
    "temperature": "kd.temperature",
}
IGNORED_KEYS = {  # key: reason; keys with the same reason are reported together
    **dict.fromkeys(
        ("accelerator", "plugins", "CUDA_VISIBLE_DEVICES"),
        "accelerate launch -m fki selects devices",
    ),
    **dict.fromkeys(
        ("wandb_log", "wandb_project", "wandb_run_name"),
        "every step is logged in the run directory; for a tracker: --track NAME",
    ),
    "resume_from_checkpoint": "to resume a run: --resume",
    "mode": "check_validation = true evaluates without training",
    **dict.fromkeys(
        ("stream_mini_batch_size", "granularity"),
        "dataset_version divides the stream into periods",
    ),
    "root_path": "dataset can be a folder",
    **dict.fromkeys(
        ("finetuning_ratio", "split", "split_num"),
        "training uses every row of a period",
    ),
    **dict.fromkeys(("len_data", "num_files"), "rows are counted automatically"),
    "red_flag": "rows without a change are always skipped",
    "distil_epoch": "the teacher is the model before each period",
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
DECODER_NAMES = re.compile(  # of models that are not on this machine
    r"(?i)gpt|llama|\bopt-|bloom|pythia|qwen|gemma|mistral|smollm|\bphi-"
)
DECODER_SETTINGS = {"prompt_format": "completion", "document_objective": "next_token"}
IMPLIED_ORIGIN = "default of the original code"

RECADAM_PULL = 0.1  # learning_rate * gamma of RecAdam's paper: 2e-5 * 5000


class MethodMapping(NamedTuple):
    """The counterpart of an original method: method, options of its table, and a remark."""

    method: str
    options: Mapping[str, Any]
    remark: str = ""


def _map_parallel(k: int) -> MethodMapping:
    return MethodMapping(
        f"kadapter_{k}",
        {"kadapter.mode": "parallel"},
        f"{k} equal modules in parallel, as in CFInjectBench. For {k} blocks in one module, as in "
        "the paper: --set kadapter.mode=stacked",
    )


STACKED = MethodMapping(
    "kadapter_2", {"kadapter.mode": "stacked"}, "one module of 2 blocks, as in CKL."
)
METHODS = {  # by their spelling, without underscores
    **{alias: MethodMapping(method, {}) for alias, method in registry.ALIASES.items()},
    "vanilla": MethodMapping("vanilla", {}),
    "kadapter": STACKED,
    "kadapters": STACKED._replace(
        remark="one module of 2 blocks, as in CKL. In K47, this name ran vanilla."
    ),
    "kadapter2": _map_parallel(2),
    "kadapter3": _map_parallel(3),
    "lora": MethodMapping(
        "lora",
        {},
        "r = 4, alpha = 16, scaled by alpha / r = 4. The original code scaled by r / alpha = 0.25, "
        "a mistake. To reproduce it: --set lora.alpha=1",
    ),
    "mixreview": MethodMapping(
        "mixreview",
        {},
        "old examples come from all earlier training data. CFInjectBench used time-invariant "
        "relations only: --set mixreview.invariant_only=true. CKL reviewed a corpus: --set "
        "mixreview.source=corpus",
    ),
    "modular": MethodMapping(
        "modular",
        {"modular.size": "same"},
        "a second encoder of the same size. For the small one of the paper: --set "
        "modular.size=small",
    ),
    "modularsmall": MethodMapping("modular", {"modular.size": "small"}, "a second, small encoder."),
    "kd": MethodMapping(
        "kd",
        {},
        "the teacher is the model before each period. In the original code it was the student.",
    ),
    "kilm": MethodMapping(
        "kilm", {}, "the target is the hidden spans. The original target was the whole statement."
    ),
    "recadam": MethodMapping("recadam", {}),  # its remark needs the learning rate
}
CORESETS = {"K-center": "k_center", "model": "loss_net"}  # of CFInjectBench
STREAM_SECONDS = 8  # of a period, in CFInjectBench's script for time-limited streams
METHOD_SPELLINGS = (*METHODS, "kadapter_2", "kadapter_3", "modular_small", registry.INITIAL)
UNSUPPORTED_METHODS = {  # original methods that fki does not have: what each is
    "prune": "pruning, which fki does not have",
}

CORPUS_SIZES = ("full", "small", "small_m", "debug")  # values of dataset_version in CKL
CKL_FILES = {  # a dataset of CKL: the part of fki's dataset `ckl` that it is
    "recentnews": "stream",
    "recent_news": "stream",  # in TemporalWiki's code
    "invariantlama": "probe set 'invariant'",
    "updatedlama": "probe set 'updated'",
    "newlama": "probe set 'new'",
    "newlama_easy": "probe set 'new_easy'",
    "recentqa": "probe sets 'updated' and 'new'",  # of earlier revisions
    "recentprobe": "probe sets 'updated' and 'new'",
}
DIFFSET = re.compile(r"wikipedia_(\d\d)\d\d(?!\d)")  # the changes between two months of 2021
TEMPORALWIKI_FILE = re.compile(
    r"(?:data/)?(?:evaluation/)?(?:"
    r"wikipedia_\d\d(?:\d\d)?(?:_\w+)?|\d{4}-\d{4}_(?:changed|unchanged|updated|new)(?:_\w+)?|"
    r"IL(?:_\w+)?|(?:UnC|UnL|UpL|UL|NL)_\d{2,4})(?:\.csv)?|"
    r"data/(?:\d+/)?\d\d|.*TWiki_(?:Diffsets|Probes).*"
)
KILT_TASKS = {  # that CKL fine-tunes on, in lower case
    *("ay2", "cweb", "eli5", "fever", "hotpotqa", "nq"),
    *("tqa", "trex", "triviaqa", "wned", "wow", "zsre"),
}
