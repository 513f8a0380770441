"""The same plans for another address: the web form's host, or a master's word."""

import dataclasses
import logging

from harness.scenario.check import Prepared
from harness.scenario.plans import Planner
from harness.scenario.target.several import called, in_words

logger = logging.getLogger(__name__)


def retarget(prepared: Prepared, url: str | None) -> Prepared:
    """Return the plans for `url`, NAME=URL each of several targets; one that is no address changes nothing."""
    if not url or url == prepared.url:
        return prepared
    try:
        planner = Planner(prepared.loaded.scenario, prepared.corpus, prepared.seed, url, prepared.only)
    except ValueError as error:
        logger.warning("host: %s; calling %s", error, prepared.url)
        return prepared
    targets = called(prepared.loaded.scenario.named_targets, url, prepared.only)
    where = in_words({name: target.url for name, target in targets.items()})
    return dataclasses.replace(prepared, url=where, planner=planner)
