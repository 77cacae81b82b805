"""The datasets that fki knows by name: one table of their summaries, places and licenses.

The rest of the package reads this table: `fki download --list`, the hint of a dataset that is not
downloaded yet, and the readers of the benchmarks' original files.
"""

from typing import NamedTuple


class KnownDataset(NamedTuple):
    """A dataset with a name of its own."""

    name: str
    summary: str
    url: str  # the authors' page; "" for the dataset that ships with fki
    license: str  # as the Hub spells it; "unknown" if the source states none
    place: str = ""  # the value of --from: an address, or hub:owner/name; "" if files are private
    has_probes: bool = False  # does `--as probes` make probe sets of it, for the setting `probes`?

    @property
    def command(self) -> str:
        """The command that downloads it."""
        if not self.url:
            return f"fki download {self.name}"
        return f"fki download {self.name} --from {self.place or 'FOLDER'}"


KNOWN_DATASETS = {
    dataset.name: dataset
    for dataset in (
        KnownDataset(
            "wiki",
            "dated facts of 2023-2025: offices, ambassadors, committees, sports, software",
            "",
            "cc-by-4.0",
        ),
        KnownDataset(
            "ckl",
            "recent news of 2020-2021 with InvariantLAMA, UpdatedLAMA and NewLAMA "
            "(Jang et al., 2022)",
            "https://github.com/joeljang/continual-knowledge-learning",
            "unknown",
        ),
        KnownDataset(
            "temporalwiki",
            "what Wikipedia changed from August to December 2021 (Jang et al., 2022)",
            "https://github.com/joeljang/temporalwiki",
            "unknown",
            "hub:seonghyeonye/TemporalWiki",
        ),
        KnownDataset(
            "cfinjectbench",
            "Wikidata's facts of 2019-2023 in days, months or quarters (CFInjectBench)",
            "https://github.com/intellistream/CFInjectBench",
            "unknown",
            "https://raw.githubusercontent.com/intellistream/CFInjectBench/main/"
            "dataset_from_2019_to_2023/dataset_from_2019-1-1_to_2023-5-31_per_month/"
            "datesorted_test_no_redundancy.jsonl",
        ),
        KnownDataset(
            "lama",
            "facts of Wikidata and other sources that language models know (Petroni et al., 2019)",
            "https://github.com/facebookresearch/LAMA",
            "cc-by-nc-4.0",
            "https://dl.fbaipublicfiles.com/LAMA/data.zip",
            has_probes=True,
        ),
        KnownDataset(
            "zsre",
            "zero-shot relation extraction as edits (Levy et al., 2017; Mitchell et al., 2022)",
            "https://github.com/eric-mitchell/mend",
            "mit",
            "https://rome.baulab.info/data/dsets/zsre_mend_eval.json",
        ),
        KnownDataset(
            "counterfact",
            "made-up edits of true facts (Meng et al., 2022)",
            "https://rome.baulab.info",
            "mit",
            "https://rome.baulab.info/data/dsets/counterfact.json",
        ),
        KnownDataset(
            "popqa",
            "questions on popular and rare subjects (Mallen et al., 2023)",
            "https://github.com/AlexTMallen/adaptive-retrieval",
            "mit",
            "hub:akariasai/PopQA",
        ),
        KnownDataset(
            "templama",
            "Wikidata's facts of 2010-2020, year by year (Dhingra et al., 2022)",
            "https://github.com/google-research/language/tree/master/language/templama",
            "apache-2.0",
            "hub:Yova/templama",
        ),
        KnownDataset(
            "knowedit",
            "edits with locality and portability, in the files of EasyEdit (Zhang et al., 2024)",
            "https://github.com/zjunlp/EasyEdit",
            "mit",
        ),
        KnownDataset(
            "mquake",
            "edits and the multi-hop questions that they change (Zhong et al., 2023)",
            "https://github.com/princeton-nlp/MQuAKE",
            "mit",
        ),
        KnownDataset(
            "rippleedits",
            "edits, what follows from them and what stays (Cohen et al., 2024)",
            "https://github.com/edenbiran/RippleEdits",
            "mit",
        ),
        KnownDataset(
            "wikibigedit",
            "half a million changes of Wikidata in eight steps of 2024 (Thede et al., 2025)",
            "https://github.com/ExplainableML/WikiBigEdit",
            "apache-2.0",
            "hub:lukasthede/WikiBigEdit",
        ),
        KnownDataset(
            "pat_questions",
            "questions about the present with answers of three dates (Meem et al., 2024)",
            "https://github.com/jannatmeem95/PAT-Questions",
            "unknown",
        ),
        KnownDataset(
            "realtimeqa",
            "weekly multiple-choice questions on the news since 2020 (Kasai et al., 2022)",
            "https://github.com/realtimeqa/realtimeqa_public",
            "unknown",
        ),
        KnownDataset(
            "freshqa",
            "questions with changing answers and false premises (Vu et al., 2023)",
            "https://github.com/freshllms/freshqa",
            "apache-2.0",
        ),
        KnownDataset(
            "situatedqa",
            "questions whose answers depend on the date (Zhang and Choi, 2021)",
            "https://github.com/mikejqzhang/SituatedQA",
            "unknown",
        ),
        KnownDataset(
            "streamingqa",
            "questions on fourteen years of news (Liska et al., 2022)",
            "https://github.com/google-deepmind/streamingqa",
            "cc-by-4.0",
        ),
    )
}
