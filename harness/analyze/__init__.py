"""From a recording of a call on two channels to what the call's records would have said of it.

recording.py    one stereo file or two mono ones, in samples; the log of a recording of our own
echo.py         each channel without what leaked into it from the other one
denoise.py      each channel without its steady background, where that is loud
known_clips.py  utterances of a corpus, recognised on either channel
sharpened.py    edges under a background, by the network of edge_net/
caller_side.py  caller's channel -> stretches of speech, by the corpus's own edges
agent_side.py   agent's channel -> stretches of speech, by the onset detector of live calls
turns.py        both -> greeting, turns, barge-ins (pure)
totals.py       turns of one or many recordings -> percentiles, ratios (pure)
transcripts.py  what was said and what was understood -> WER
words.py labels.py picture.py as_json.py    what people and programs get of it
"""
