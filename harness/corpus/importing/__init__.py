"""`callquake corpus import`: recordings of your own, in the layouts that speech data comes in, as a corpus of clips.

    source ─► layouts.find_layout ─► a reader (folder.py, common_voice.py, kaldi.py ...) ─► Listing of Items, refusals
                                                                                              │
    manifest.json ◄─ store.py ◄─ run.py ◄─ workers.py (processes) ◄─ clip_job.py: one file ◄──┘  names.py gives ids
    import.json                                    decode.py, quality.py, second_opinion.py, calls.py

What a reader cannot use and what a worker refuses is a line with a name and a reason, never an end.
"""
