"""What of a conversation is sent, and when the rest is summarised: in tokens that are words here."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_stack.context.fitting import fit, shortened
from target_stack.context.memory import CallMemory
from target_stack.context.overflow import Overflow, overflow_of
from target_stack.context.rules import ContextRules
from target_stack.context.summary import request, turns_due, usable
from target_stack.context.tokens import MESSAGE_TOKENS, PROMPT_TOKENS, estimate_tokens, message_tokens, most_tokens
from target_stack.stages.prompt import Message

pytestmark = pytest.mark.unit


def words(text):
    return len(text.split())


def talk(turns, length=5):
    said = [(role, f"{role[0]}{n} " * length) for n in range(turns) for role in ("user", "assistant")]
    return [Message(role, text.strip()) for role, text in said]


def asked(turns, length=5):
    return [*talk(turns, length), Message("user", "and now")]


def cost(*messages):
    return PROMPT_TOKENS + sum(message_tokens(m, words) for m in messages)


def test_everything_goes_along_while_it_fits():
    history = asked(3)
    assert fit(history, "", cost(*history), words).messages == tuple(history)


def test_the_oldest_turns_go_first_and_the_notes_and_last_words_stay():
    history = asked(10)
    notes = Message("system", "name: Ann")
    room = cost(notes, *history[-5:])
    fitted = fit(history, notes.text, room, words)
    assert fitted.messages == (notes, *history[-5:])
    assert (fitted.tokens, fitted.dropped) == (room, 16)
    # One token less costs the whole turn: an answer is not sent without its question.
    assert fit(history, notes.text, room - 1, words).messages == (notes, *history[-3:])


def test_fewer_turns_where_that_is_asked_for():
    history = asked(10)
    assert fit(history, "", 10_000, words, most=4).messages == tuple(history[-5:])
    assert fit(history, "", 10_000, words, most=0).messages == (history[-1],)


def test_last_words_that_are_too_long_are_shortened_in_the_middle():
    long = " ".join(map(str, range(100)))
    fitted = fit([Message("user", long)], "name: Ann", PROMPT_TOKENS + 2 * MESSAGE_TOKENS + 2 + 13, words)
    assert fitted.is_shortened
    assert fitted.messages == (Message("system", "name: Ann"), Message("user", "0 1 2 ... 91 92 93 94 95 96 97 98 99"))
    assert shortened("a b", 5, words) == "a b"


def test_notes_give_way_where_they_would_take_the_last_words_place():
    fitted = fit([Message("user", "w " * 50)], "n " * 50, PROMPT_TOKENS + 60, words)
    assert [m.role for m in fitted.messages] == ["user"]


@given(
    st.lists(st.text(max_size=80), max_size=30),
    st.text(max_size=60),
    st.text(max_size=60),
    st.integers(60, 600),
    st.one_of(st.none(), st.integers(0, 10)),
)
def test_what_is_sent_never_exceeds_the_room_and_always_ends_with_the_last_words(texts, last, notes, room, most):
    history = [Message("user" if n % 2 == 0 else "assistant", text) for n, text in enumerate(texts)]
    history.append(Message("user", last))
    fitted = fit(history, notes, room, estimate_tokens, most=most)
    assert fitted.tokens == PROMPT_TOKENS + sum(message_tokens(m, estimate_tokens) for m in fitted.messages)
    assert fitted.tokens <= room or (fitted.is_shortened and not fitted.messages[-1].text.strip())
    assert fitted.messages[-1].role == "user"
    assert fitted.is_shortened or fitted.messages[-1] == history[-1]
    told = [m for m in fitted.messages if m.role != "system"]
    assert told[0].role == "user"
    assert len(told) - 1 + fitted.dropped == len(texts)


@given(st.text())
def test_an_estimate_is_never_more_than_a_token_a_byte(text):
    assert 0 <= estimate_tokens(text) <= most_tokens(text)


def test_an_estimate_of_english_is_over_what_tokenizers_count():
    # 12 tokens by GPT-2's, Llama 3's and Gemma's tokenizers, give or take one.
    assert 12 <= estimate_tokens("Hello, my name is Daniel and I need help.") <= 24


def test_a_summary_is_due_at_its_share_and_leaves_the_rest():
    history = talk(20)
    room = sum(message_tokens(m, words) for m in history)
    assert turns_due(history, 2 * room, words, at=0.75, to=0.4) == 0
    due = turns_due(history, room, words, at=0.75, to=0.4)
    assert history[due].role == "user"
    assert sum(message_tokens(m, words) for m in history[due:]) <= 0.4 * room
    assert sum(message_tokens(m, words) for m in history[due - 2 :]) > 0.4 * room


def test_a_summary_is_never_asked_of_more_than_the_model_can_read():
    history = talk(50)
    assert sum(message_tokens(m, words) for m in history[: turns_due(history, 200, words, at=0.75, to=0.4)]) <= 200


def test_turns_that_would_only_be_dropped_are_summarised():
    assert turns_due(talk(4), 10_000, words, at=0.75, to=0.4, most=2) == 6
    assert turns_due(talk(3), 10_000, words, at=0.75, to=0.4, most=2) == 0


def test_a_summary_is_asked_for_with_the_old_one_and_clipped():
    (message,) = request("Ann called.", talk(1), 40)
    told = ["Before: Ann called.", "Customer: u0 u0 u0 u0 u0", "Agent: a0 a0 a0 a0 a0"]
    assert message.text.splitlines()[2:5] == told
    assert "40 words" in message.text
    assert usable(" Summary: Ann  called.\n", 2) == "Ann called."
    assert usable("one two three four five", 2) == "one two three four"
    assert usable("...", 2) == ""


def test_a_memory_reads_each_turn_once_and_leaves_the_last_words():
    memory = CallMemory()
    memory.read([Message("user", "My name is Ann")])
    assert memory.notes() == ""
    history = [
        Message("user", "My name is Ann Lee."),
        Message("assistant", "Your order number?"),
        Message("user", "four five nine two"),
        Message("user", "hello?"),
    ]
    memory.read(history)
    memory.read(history)
    assert memory.notes() == "Known of the caller: name: Ann Lee; order number: 4592."
    memory.summary, memory.summarised = "She wants her order.", 2
    assert memory.notes().endswith(".\nEarlier: She wants her order.")
    assert list(memory.fresh(history)) == history[2:]
    assert list(memory.fresh(history[:1])) == history[:1]


VLLM = "This model's maximum context length is 64 tokens. However, "
LLAMA = "request (1200 tokens) exceeds the available context size (1024 tokens), try increasing it"


@pytest.mark.parametrize(
    ("said", "overflow"),
    [
        (VLLM + "you requested 127 tokens (27 in the messages, 100 in the completion).", Overflow(64, 27)),
        (VLLM + "your request has 127 input tokens. Please reduce the length of the input.", Overflow(64, 127)),
        (VLLM + "your prompt contains at least 513 input tokens, which exceeds this limit.", Overflow(64, 513)),
        ("The decoder prompt (length 127) is longer than the maximum model length of 64.", Overflow(64, 127)),
        (VLLM + "your messages resulted in 9001 tokens.", Overflow(64, 9001)),
        (LLAMA, Overflow(1024, 1200)),
        ("the prompt is beyond the context window", Overflow(None, None)),
        ("unknown model", None),
    ],
)
def test_a_refusal_because_of_length_is_known_from_others(said, overflow):
    assert overflow_of(400, json.dumps({"error": {"message": said, "code": 400}})) == overflow
    assert overflow_of(400, said) == overflow
    assert overflow_of(500, said) is None


def test_numbers_beside_the_words_are_read_too():
    error = {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 1200, "n_ctx": 1024}
    assert overflow_of(400, json.dumps({"error": error})) == Overflow(1024, 1200)


def test_shares_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="summarise_at"):
        ContextRules(summarise_at=0.4, to=0.5)
