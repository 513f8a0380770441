"""The consent store's tables, in the SQL that SQLite and PostgreSQL share; {numbered} is how each numbers its rows."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS consent (
    caller TEXT NOT NULL, activity TEXT NOT NULL, state TEXT NOT NULL, region TEXT NOT NULL, form TEXT NOT NULL,
    changed_ms BIGINT NOT NULL, expires_ms BIGINT, PRIMARY KEY (caller, activity));
CREATE TABLE IF NOT EXISTS consent_step (
    id {numbered}, caller TEXT NOT NULL, activity TEXT NOT NULL, step TEXT NOT NULL, at_ms BIGINT NOT NULL,
    region TEXT NOT NULL, call_id TEXT NOT NULL, form TEXT NOT NULL, asked TEXT NOT NULL, answered TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS consent_step_caller ON consent_step (caller);
CREATE TABLE IF NOT EXISTS kept_call (
    key TEXT PRIMARY KEY, call_id TEXT NOT NULL, caller TEXT NOT NULL, region TEXT NOT NULL, direction TEXT NOT NULL,
    started_ms BIGINT NOT NULL, due_ms BIGINT NOT NULL, reason TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS kept_call_caller ON kept_call (caller);
CREATE TABLE IF NOT EXISTS trail (
    id {numbered}, at_ms BIGINT NOT NULL, what TEXT NOT NULL, caller TEXT NOT NULL, call TEXT NOT NULL,
    region TEXT NOT NULL, direction TEXT NOT NULL, about TEXT NOT NULL, due_ms BIGINT, detail TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS trail_at ON trail (at_ms);
CREATE INDEX IF NOT EXISTS trail_what ON trail (what, at_ms);
CREATE INDEX IF NOT EXISTS trail_due ON trail (due_ms)
"""
# Those with anything of a caller's in them; the trail has nothing to purge.
PERSONAL = ("consent", "consent_step", "kept_call")


def statements(numbered: str) -> list[str]:
    """Return the statements one by one."""
    return [statement.strip() for statement in SCHEMA.replace("{numbered}", numbered).split(";")]
