"""The rules of a recipe's accents as Markdown tables; `python -m harness.corpus.accent_tables` prints the shipped."""

from collections.abc import Mapping

from harness.corpus.accents import AccentSpec
from harness.corpus.manifest import default_corpus_dir
from harness.corpus.recipe import load_recipe

_LANGUAGES = {"en-us": "American English", "en-gb": "British English"}


def accent_tables(accents: Mapping[str, AccentSpec]) -> str:
    """Return a section an accent: voices, starting point, source, and a row a rule."""
    return "\n".join(_section(name, spec) for name, spec in accents.items())


def _section(name: str, spec: AccentSpec) -> str:
    lines = [f"### {name}", "", f"Voices: {', '.join(spec.speakers)}. From {_LANGUAGES[spec.language]}."]
    if not spec.rules:
        return "\n".join([*lines, "No rules: spoken as the voice model was taught.", ""])
    lines += [f"Source: {spec.source}.", "", "| transfer | word | from | to |", "| --- | --- | --- | --- |"]
    rows = [f"| {rule.what} | {rule.word} | {rule.before} | {rule.after} |" for rule in spec.rules]
    return "\n".join([*lines, *rows, ""])


if __name__ == "__main__":
    print(accent_tables(load_recipe(default_corpus_dir() / "recipe.yaml").accents))
