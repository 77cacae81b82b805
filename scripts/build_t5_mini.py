"""Pretrain the embedded t5-mini from scratch, with fki's trainer, on the base facts only.

    python scripts/build_t5_mini.py --dataset fki/assets/wiki --output fki/assets/t5-mini

The script trains a SentencePiece vocabulary, then a small T5 (tied head) on every base fact in the
first two of its wordings and on the same text with span corruption. The stream is not used.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import sentencepiece
import torch
from accelerate import Accelerator
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from fki.config.schema import Config
from fki.core.types import Example, Fact, Period, ProbeSet, Stream
from fki.data.collator import ExampleTokenizer
from fki.data.dataset_folder import read_folder
from fki.data.prompts import training_examples
from fki.data.span_corruption import corrupt_spans
from fki.evaluation.evaluator import Evaluator, mean_score
from fki.methods.base import Method
from fki.training.batching import derive_seed
from fki.training.trainer import Trainer

PRETRAINED_WORDINGS = 2  # of each fact: the dataset had no more when the model was built
PIECES, SENTINELS = 4000, 100
SEED = 7
BATCH, LEARNING_RATE = 96, 2e-3
SHAPE = {
    "d_model": 128,
    "d_kv": 32,
    "num_heads": 4,
    "d_ff": 512,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "relative_attention_num_buckets": 32,
}
CORRUPTED = 0.25  # share of the texts that an epoch also has with span corruption


class Pretraining(Method):
    """Each epoch has every base fact in each wording, and a new sample of corrupted texts."""

    def mix(
        self, period: Period, review: Sequence[Example], epoch: int, seed: int
    ) -> Sequence[Example]:
        rng = random.Random(derive_seed(seed, "spans", epoch))
        texts = make_sentences(period.facts)
        chosen = rng.sample(texts, int(CORRUPTED * len(texts)))
        spans = [Example(f"{epoch}.{i}", *corrupt_spans(t, rng)) for i, t in enumerate(chosen)]
        return [*period.examples, *spans]


def make_sentences(facts: Sequence[Fact]) -> list[str]:
    """Make a sentence of every fact and wording."""
    return [
        wording.replace("[X]", fact.subject).replace("[Y]", answer)
        for fact in facts
        for wording in fact.wordings[:PRETRAINED_WORDINGS]
        for answer in fact.objects
    ]


def train_vocabulary(texts: Sequence[str], folder: Path) -> PreTrainedTokenizerFast:
    """Train a unigram vocabulary with byte fallback: pad, EOS, unknown, pieces, sentinels."""
    with tempfile.TemporaryDirectory() as scratch:
        corpus = Path(scratch) / "corpus.txt"
        corpus.write_text("\n".join(texts), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus),
            model_prefix=str(Path(scratch) / "spiece"),
            vocab_size=PIECES,
            model_type="unigram",
            byte_fallback=True,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            character_coverage=0.9995,
            split_digits=True,
            num_threads=1,
            minloglevel=2,
            shuffle_input_sentence=False,
            normalization_rule_name="nfkc",
        )
        pieces = sentencepiece.SentencePieceProcessor(
            model_file=str(Path(scratch) / "spiece.model")
        )
    return to_fast_tokenizer(pieces)


def to_fast_tokenizer(pieces: sentencepiece.SentencePieceProcessor) -> PreTrainedTokenizerFast:
    """Convert the vocabulary to the tokenizer that transformers loads from tokenizer.json."""
    special = ["<pad>", "</s>", "<unk>"]
    vocabulary = [
        (special[i] if i < 3 else pieces.id_to_piece(i), pieces.get_score(i))
        for i in range(pieces.get_piece_size())
    ]
    vocabulary += [(f"<extra_id_{i}>", 0.0) for i in range(SENTINELS - 1, -1, -1)]
    fast = Tokenizer(Unigram(vocabulary, unk_id=2, byte_fallback=True))
    fast.normalizer = normalizers.NFKC()
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", prepend_scheme="always")]
    )
    fast.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace("▁", prepend_scheme="always")]
    )
    fast.post_processor = processors.TemplateProcessing(
        single=["$A", "</s>"], pair=["$A", "</s>", "$B", "</s>"], special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=[f"<extra_id_{i}>" for i in range(SENTINELS)],
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> T5ForConditionalGeneration:
    """Make a randomly initialized T5 with a tied head."""
    torch.manual_seed(SEED)
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            dropout_rate=0.0,
            decoder_start_token_id=0,
            pad_token_id=0,
            eos_token_id=1,
            **SHAPE,
        )
    )


def pretrain(
    model: T5ForConditionalGeneration, encoder: ExampleTokenizer, stream: Stream, config: Config
) -> float:
    """Train on the base facts of the stream. Returns the mean loss of the last epoch."""
    method = Pretraining(config)
    trainer = Trainer(method.prepare(model), method, config, encoder, Accelerator())
    first = stream.periods[0]
    examples = [
        e
        for f in stream.base
        for wording in f.wordings[:PRETRAINED_WORDINGS]
        for e in training_examples(replace(f, wordings=(wording,)), "sentinel", period="base")
    ]
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
    model: T5ForConditionalGeneration, encoder: ExampleTokenizer, stream: Stream, config: Config
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


CARD = Path(__file__).with_name("t5_mini_card.md")


def write_card(folder: Path) -> None:
    """Write README.md of the model folder, from pretraining.json."""
    result = json.loads((folder / "pretraining.json").read_text())
    rows = [
        f"| {name} | {s['n']:,} | {s['em']:.1f} | {s['f1']:.1f} | {s['floor']:.1f} |"
        for name, s in result["scores"].items()
    ]
    model = T5ForConditionalGeneration.from_pretrained(folder)
    text = CARD.read_text(encoding="utf-8").format(
        parameters=sum(p.numel() for p in model.parameters()),
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    stream = read_folder(options.dataset, "quarter", "sentinel", name="wiki")
    config = Config(
        num_train_epochs=options.epochs,
        train_batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        seed=SEED,
        optimizer="adamw",
        use_lr_scheduling=True,
        max_grad_norm=1.0,
    )
    tokenizer = train_vocabulary(make_sentences(stream.base), options.output)
    model = make_model(tokenizer)
    encoder = ExampleTokenizer(tokenizer, config.input_length, config.output_length)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    loss = pretrain(model, encoder, stream, config)
    model.generation_config.max_new_tokens = config.output_length
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    result = {
        "loss": loss,
        "data": stream.digest,
        "epochs": options.epochs,
        "seed": SEED,
        "scores": evaluate(model, encoder, stream, config),
    }
    (options.output / "pretraining.json").write_text(json.dumps(result, indent=1) + "\n")
    write_card(options.output)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
