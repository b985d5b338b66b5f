"""All files of the catalogue, as text by path under docs."""

from __future__ import annotations

from dataclasses import dataclass

from catalogue.curves import Curves, curves
from catalogue.entries import Entry, entries
from catalogue.page import PICTURES, page
from catalogue.pictures import svg


@dataclass(frozen=True)
class Catalogue:
    """What the code says at present."""

    losses: list[Entry]
    drawn: dict[str, Curves]
    page: str

    def pictures(self) -> dict[str, str]:
        return {
            f"{PICTURES}/{entry.name}.svg": svg(entry.name, self.drawn[entry.name], entry.part.pointwise)
            for entry in self.losses
        }


def build_catalogue() -> Catalogue:
    losses = entries("loss")
    drawn = {entry.name: curves(entry) for entry in losses}
    return Catalogue(losses, drawn, page(losses, drawn, entries("weighting"), entries("regularizer")))
