"""Who must be told what, who must agree to what, and what may then be heard, written down and kept. Not legal advice.

rules.yaml ─► rules ─► decision (pure) ◄─ consent (states)      session: says, asks, then lets the agent hear
                            ▲                                    recording: what is kept of a call, once it may be
                            └── store (SQLite, PostgreSQL) ◄──── deletion, audit: what is gone, what happened
"""
