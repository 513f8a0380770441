"""Names and numbers found by rule in what callers say, and kept."""

import pytest

from target_stack.context.digits import with_digits
from target_stack.context.fact_rules import Fact, facts_in
from target_stack.context.facts import KEPT_FIRST, MOST_FACTS, Facts

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("said", "asked", "facts"),
    [
        ("Hi, my name is Daniel Reyes and I have a question.", "", {"name": "Daniel Reyes"}),
        ("hello my name is maria lopez and i need help", "", {"name": "maria lopez"}),
        ("This is Priya Raman calling about my bill.", "", {"name": "Priya Raman"}),
        ("Good morning, I'm Jean-Luc O'Brien, I lost my phone.", "", {"name": "Jean-Luc O'Brien"}),
        ("Ludwig van der Berg speaking.", "", {"name": "Ludwig van der Berg"}),
        ("The reservation is under the name of Siobhán Ó Dálaigh.", "", {"name": "Siobhán Ó Dálaigh"}),
        ("My name\u2019s Zoë.", "", {"name": "Zoë"}),
        ("My wife Elena booked it, my name is Tom Hart.", "", {"name": "Tom Hart", "wife's name": "Elena"}),
        ("My order number is 4592.", "", {"order number": "4592"}),
        ("my order number is four five nine two", "", {"order number": "4592"}),
        ("The booking reference, I think it's AB-7741X, is from March.", "", {"reference number": "AB-7741X"}),
        ("Case 9 double four one please.", "", {"case number": "9441"}),
        ("It's 4 5 9 2.", "And what is your account number?", {"account number": "4592"}),
        ("Daniel Reyes.", "May I have your full name?", {"name": "Daniel Reyes"}),
        ("My booking is 7741.", "", {"booking number": "7741"}),
        ("You can reach me at 0171 555 0199.", "", {"phone number": "01715550199"}),
        ("My e-mail is ann.lee@example.com.", "", {"e-mail": "ann.lee@example.com"}),
        ("It is daniel dot reyes at example dot com", "", {"e-mail": "daniel.reyes@example.com"}),
        ("It's spelled R-E-Y-E-S.", "", {"spelling": "REYES"}),
        ("My address is 12 Oak Street, Springfield.", "", {"address": "12 Oak Street, Springfield"}),
        # What only looks like it.
        ("This is a problem, and I'm really angry.", "", {}),
        ("This is Monday, I'm American.", "", {}),
        ("I ordered two chairs in 2019.", "", {}),
        ("Yes.", "May I have your name?", {}),
        # Secrets.
        ("My card number is 4111 1111 1111 1111 and my PIN is 1234.", "", {}),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "Your account number?", {}),
        ("1234", "What is the password of your account?", {}),
    ],
)
def test_what_a_caller_says_of_himself(said, asked, facts):
    assert {fact.kind: fact.value for fact in facts_in(said, asked)} == facts


def test_spoken_numbers_become_digits_and_short_ones_stay_words():
    assert with_digits("it is four, five nine. double two and one thing") == "it is 45922 and one thing"
    assert with_digits("one or two") == "one or two"
    assert with_digits("04-12-99 and 3, 4, 5") == "041299 and 345"


def test_a_longer_name_or_a_correction_takes_the_place_of_what_was_known():
    facts = Facts()
    facts.learn("This is Daniel speaking.")
    facts.learn("My name is Daniel Reyes.")
    facts.learn("This is Daniel.")
    assert facts.known == (Fact("name", "Daniel Reyes"),)
    facts.learn("No, sorry, my name is David Reyes.")
    assert facts.known == (Fact("name", "David Reyes"),)
    facts.learn("My order number is 4592.")
    facts.learn("My other order number is 7710.")
    assert facts.told() == "name: David Reyes; order number: 4592; order number: 7710"


def test_the_list_is_bounded_and_the_first_minute_stays():
    facts = Facts()
    facts.learn("My name is Daniel Reyes, my order number is 4592.")
    facts.learn("This is my wife Elena.")
    facts.learn("My wife is Elena Reyes.")
    for number in range(1000, 1100):
        facts.learn(f"The ticket number is {number}.")
    told = facts.told()
    assert len(facts.known) == MOST_FACTS
    assert "Daniel Reyes" in told
    assert "4592" in told
    assert "Elena Reyes" in told
    assert f"ticket number: {1000 + KEPT_FIRST - 4}" in told
    assert f"ticket number: {1000 + KEPT_FIRST - 3}" not in told
    assert "1099" in told
