"""All readers, by name: a further dataset of the field is one Reader and one word here."""

from fki.data.field.base import Reader
from fki.data.field.ckl import CKL
from fki.data.field.dated import CFINJECTBENCH, TEMPLAMA
from fki.data.field.temporalwiki import TEMPORALWIKI
from fki.data.field.undated import COUNTERFACT, LAMA, POPQA, ZSRE

READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (CKL, TEMPORALWIKI, CFINJECTBENCH, LAMA, ZSRE, COUNTERFACT, POPQA, TEMPLAMA)
}
