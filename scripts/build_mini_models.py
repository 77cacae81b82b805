"""Pretrain an embedded model from scratch, with fki's trainer, on the base facts only.

    python scripts/build_mini_models.py t5-mini --dataset fki/assets/wiki
    python scripts/build_mini_models.py llama-mini --dataset fki/assets/wiki

The script trains a vocabulary, then a small model on every base fact in the first two of its
wordings: t5-mini fills in the answer, and random spans of the same text; llama-mini reads the text
by next-token prediction. The stream is not used.
"""

import argparse
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from accelerate import Accelerator
from mini_recipes import (
    CORRUPTED,
    PIECES,
    PRETRAINED_WORDINGS,
    RECIPES,
    Recipe,
    make_sentences,
)
from transformers import PreTrainedModel

from fki.config.schema import Config
from fki.core.atomic_io import write_text
from fki.core.types import Period, ProbeSet, Stream
from fki.data.collator import ExampleTokenizer
from fki.data.dataset_folder import folder_digest, read_folder
from fki.evaluation.evaluator import Evaluator, mean_score
from fki.modeling.load import count_parameters, load_base_model, make_example_tokenizer
from fki.training.trainer import Trainer

SEED = 7
BATCH, LEARNING_RATE = 96, 2e-3
ASSETS = Path("fki/assets")


def pretrain(
    model: PreTrainedModel,
    recipe: Recipe,
    encoder: ExampleTokenizer,
    stream: Stream,
    config: Config,
) -> float:
    """Train on the base facts of the stream. Returns the mean loss of the last epoch."""
    method = recipe.method(config)
    trainer = Trainer(method.prepare(model), method, config, encoder, Accelerator())
    first = stream.periods[0]
    examples = recipe.make_examples(stream.base)
    losses: dict[int, list[float]] = {}
    for step in trainer.train_period(
        Period("base", first.start, first.end, stream.base, tuple(examples))
    ):
        losses.setdefault(step.epoch, []).append(step.loss)
        if step.step % 500 == 0:
            print(f"step {step.step}/{step.steps} loss {step.loss:.4f}", flush=True)
    last = losses[config.num_train_epochs - 1]
    return sum(last) / len(last)


def evaluate(
    model: PreTrainedModel, encoder: ExampleTokenizer, stream: Stream, config: Config
) -> dict:
    """Evaluate every probe set: exact match and F1 in %, and the floor of guessing."""
    evaluator, scores = Evaluator(encoder, config, Accelerator()), {}
    for probe_set in stream.probe_sets:
        score = mean_score(probe_set.name, "all", evaluator.predict(model, probe_set.probes))
        scores[probe_set.name] = {
            "n": score.n,
            "em": round(score.em, 2),
            "f1": round(score.f1, 2),
            "floor": round(floor(probe_set, stream), 2),
        }
    return scores


def floor(probe_set: ProbeSet, stream: Stream) -> float:
    """Exact match (%) of always predicting a relation's most frequent base answer."""
    counts: dict[str, dict[str, int]] = {}
    for fact in stream.base:
        for answer in fact.objects:
            table = counts.setdefault(fact.relation, {})
            table[answer] = table.get(answer, 0) + 1
    guess = {relation: max(table, key=table.__getitem__) for relation, table in counts.items()}
    right = sum(guess.get(p.relation) in p.answers for p in probe_set.probes)
    return 100 * right / len(probe_set.probes)


def digest_as_pretrained(dataset: Path) -> str:
    """The digest of the dataset with those wordings alone that pretraining uses."""
    with TemporaryDirectory() as root:
        folder = shutil.copytree(dataset, Path(root, "dataset"))
        file = folder / "relations.json"
        relations = json.loads(file.read_text(encoding="utf-8"))
        for relation in relations.values():
            relation["wordings"] = relation["wordings"][:PRETRAINED_WORDINGS]
        write_text(file, json.dumps(relations, ensure_ascii=False, indent=2) + "\n")
        return folder_digest(folder)


def write_card(name: str, folder: Path) -> None:
    """Write README.md of the model folder, from pretraining.json."""
    result = json.loads((folder / "pretraining.json").read_text())
    rows = [
        f"| {name} | {s['n']:,} | {s['em']:.1f} | {s['f1']:.1f} | {s['floor']:.1f} |"
        for name, s in result["scores"].items()
    ]
    card = Path(__file__).with_name(f"{name.replace('-', '_')}_card.md")
    text = card.read_text(encoding="utf-8").format(
        parameters=count_parameters(load_base_model(str(folder)).model)[0],
        seed=result["seed"],
        epochs=result["epochs"],
        learning_rate=LEARNING_RATE,
        batch=BATCH,
        corrupted=CORRUPTED,
        pieces=PIECES,
        data=result["data"],
        rows="\n".join(rows),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def main() -> None:
    """Build the model folder and print its scores."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", choices=[*RECIPES])
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--output", type=Path, help="default: fki/assets/MODEL")
    parser.add_argument("--epochs", type=int, help="default: those of the embedded model")
    options = parser.parse_args()
    recipe, output = RECIPES[options.model], options.output or ASSETS / options.model
    stream = read_folder(options.dataset, "quarter", "sentinel", name="wiki")
    config = Config(
        num_train_epochs=options.epochs or recipe.epochs,
        train_batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        seed=SEED,
        optimizer="adamw",
        use_lr_scheduling=True,
        max_grad_norm=1.0,
        **recipe.settings,
    )
    tokenizer = recipe.train_vocabulary(make_sentences(stream.base))
    model = recipe.make_model(tokenizer, SEED)
    encoder = make_example_tokenizer(tokenizer, config)
    print(f"{count_parameters(model)[0]:,} parameters", flush=True)
    loss = pretrain(model, recipe, encoder, stream, config)
    model.generation_config.max_new_tokens = config.output_length
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    result = {
        "loss": loss,
        "data": digest_as_pretrained(options.dataset),
        "epochs": config.num_train_epochs,
        "seed": SEED,
        "scores": evaluate(model, encoder, stream, config),
    }
    (output / "pretraining.json").write_text(json.dumps(result, indent=1) + "\n")
    write_card(options.model, output)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
