"""The same story in another time: a soak of half an hour is a soak of a night, and a trial of a minute."""

from harness.model.errors import ScenarioError
from harness.scenario.fault_block import FaultBlock
from harness.scenario.schema import Arrivals, Load, Scenario, Users

MAX_MINUTES = 7 * 24 * 60


def stretched(scenario: Scenario, minutes: float) -> Scenario:
    """Return `scenario` with a load of `minutes`: its stages keep their shares of it, and faults begin at theirs.

    What a stage asks for (users, rates) stays, and so do how long faults last and what they may take to heal. Raises
    ScenarioError, naming the option, where the load has no length that could be changed.
    """
    if not 0 < minutes <= MAX_MINUTES:
        raise ScenarioError(f"--minutes: got {minutes:g}; legal: above 0, at most {MAX_MINUTES}")
    factor = minutes * 60 / _length_s(scenario.load)
    load = Load(arrivals=_arrivals(scenario.load.arrivals, factor), users=_users(scenario.load.users, factor))
    return scenario.model_copy(update={"load": load, "faults": [_later(one, factor) for one in scenario.faults]})


def _length_s(load: Load) -> float:
    if load.users is not None:
        return sum(stage.duration_s for stage in load.users.stages)
    said = load.arrivals
    if said is not None and said.stages is not None:
        return sum(stage.duration_s for stage in said.stages)
    if said is not None and said.duration_s is not None:
        return said.duration_s
    raise ScenarioError("--minutes: the load has no duration_s that could be changed; legal: with stages or duration_s")


def _users(users: Users | None, factor: float) -> Users | None:
    if users is None:
        return None
    stages = [stage.model_copy(update={"duration_s": stage.duration_s * factor}) for stage in users.stages]
    return users.model_copy(update={"stages": stages})


def _arrivals(arrivals: Arrivals | None, factor: float) -> Arrivals | None:
    if arrivals is None:
        return None
    if arrivals.stages is None:
        return arrivals.model_copy(update={"duration_s": (arrivals.duration_s or 0.0) * factor})
    stages = [stage.model_copy(update={"duration_s": stage.duration_s * factor}) for stage in arrivals.stages]
    return arrivals.model_copy(update={"stages": stages})


def _later(fault: FaultBlock, factor: float) -> FaultBlock:
    return fault.model_copy(update={"start_s": fault.start_s * factor})
