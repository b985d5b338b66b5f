"""Write docs/catalogue.md and its pictures, and print what does not stack."""

from __future__ import annotations

from catalogue.build import build_catalogue
from catalogue.page import PICTURES, not_stacking

from lossbench.config.compose import project

docs = project() / "docs"
made = build_catalogue()
pictures = made.pictures()
folder = docs / PICTURES
folder.mkdir(exist_ok=True)
for old in folder.glob("*.svg"):
    if f"{PICTURES}/{old.name}" not in pictures:
        old.unlink()
for name, text in {"catalogue.md": made.page, **pictures}.items():
    (docs / name).write_text(text)
print(f"docs/catalogue.md and {len(pictures)} pictures in docs/{PICTURES}")
print("does not stack:")
for name, reason in not_stacking(made.losses).items():
    print(f"  {name}: {reason}")
