"""The datasets that fki knows by name, and the command that brings each onto this machine."""

KNOWN_DATASETS = {
    "wiki": "fki download wiki",
    "ckl": "fki download ckl --from FOLDER",
    "temporalwiki": "fki download temporalwiki --from hub:seonghyeonye/TemporalWiki",
    "cfinjectbench": "fki download cfinjectbench --from FOLDER",
    "lama": "fki download lama --from https://dl.fbaipublicfiles.com/LAMA/data.zip",
    "zsre": "fki download zsre --from https://rome.baulab.info/data/dsets/zsre_mend_eval.json",
    "counterfact": "fki download counterfact --from "
    "https://rome.baulab.info/data/dsets/counterfact.json",
    "popqa": "fki download popqa --from hub:akariasai/PopQA",
    "templama": "fki download templama --from hub:Yova/templama",
}
