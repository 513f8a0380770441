"""The same plans for another address: the web form's host, or a master's word."""

import dataclasses
import logging

from harness.scenario.check import Prepared
from harness.scenario.plans import Planner

logger = logging.getLogger(__name__)


def retarget(prepared: Prepared, url: str | None) -> Prepared:
    """Return the plans for `url`; one that is no address changes nothing."""
    if not url or url == prepared.url:
        return prepared
    try:
        prepared.loaded.scenario.target.at(url)
    except ValueError as error:
        logger.warning("host: %s; calling %s", error, prepared.url)
        return prepared
    planner = Planner(prepared.loaded.scenario, prepared.corpus, prepared.seed, url)
    return dataclasses.replace(prepared, url=url, planner=planner)
