"""Accents do what their tables say, and the page that shows the tables shows these."""

# ruff: noqa: RUF001  phonemes are meant

from pathlib import Path

import pytest

from harness.corpus.accent_tables import accent_tables
from harness.corpus.accents import with_accent
from harness.corpus.manifest import default_corpus_dir
from harness.corpus.recipe import load_recipe

pytestmark = pytest.mark.unit

ACCENTS = load_recipe(default_corpus_dir() / "recipe.yaml").accents
RULES = [(name, rule) for name, spec in ACCENTS.items() for rule in spec.rules]
PAGE = Path(__file__).parents[3] / "docs" / "accents.md"


@pytest.mark.parametrize(("accent", "rule"), RULES, ids=lambda part: getattr(part, "word", part))
def test_a_rule_makes_of_its_word_what_the_table_says(accent, rule):
    rules = ACCENTS[accent].rules
    assert with_accent(rule.before, rules) == rule.after
    without = tuple(other for other in rules if other != rule)
    assert with_accent(rule.before, without) != rule.after, "the rule is not heard in its word"


def test_natives_speak_as_they_are_and_every_other_accent_differs():
    assert {name for name, spec in ACCENTS.items() if not spec.rules} == {"american", "british"}
    assert {name for name, spec in ACCENTS.items() if spec.native} == {"american", "british"}
    heard = {with_accent("wiː θˈɪŋk ðɪs vˈɛɹi bˈæd hˈɑːɹt sˈɪti ɡˈʊd.", spec.rules) for spec in ACCENTS.values()}
    assert len(heard) == len(ACCENTS) - 1


@pytest.mark.parametrize("accent", ACCENTS)
def test_words_have_the_phonemes_that_the_tables_give_them(accent):
    tokenizer = pytest.importorskip("kokoro_onnx.tokenizer").Tokenizer()
    spec = ACCENTS[accent]
    for rule in spec.rules:
        assert tokenizer.phonemize(rule.word, spec.language).strip() == rule.before
        assert set(rule.after) <= set(tokenizer.vocab)


def test_the_page_shows_these_tables():
    assert accent_tables(ACCENTS) in PAGE.read_text(encoding="utf-8")
