"""A stage's process as faults of the agent see it, scripted."""

import asyncio


class ScriptedServer:
    """Dies in `kill_s`, starts in four seconds. `starts`, `dies`: whether it does at all; `told`: what was asked."""

    def __init__(self, *, starts=True, dies=True, kill_s=0.0):
        self.starts, self.dies, self._kill_s, self.told = starts, dies, kill_s, []

    async def kill(self):
        await asyncio.sleep(self._kill_s)
        self.told.append("kill")
        if not self.dies:
            raise ProcessLookupError("no such process")

    async def start(self):
        await asyncio.sleep(4)
        self.told.append("start")
        if not self.starts:
            raise RuntimeError("no memory left")
        return "http://127.0.0.1:1"
