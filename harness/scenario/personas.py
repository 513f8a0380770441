"""Who is calling: invented by faker from the call's seed. Numbers come from ranges set aside for fiction."""

import random
from functools import cache

from faker import Faker

from harness.model.plan import Persona

# Accent as the corpus names it (without its "-l1") -> faker's locale and the region the persona lives in.
_REGIONS = {
    "american": ("en_US", "US"),
    "british": ("en_GB", "GB"),
    "spanish": ("es_ES", "ES"),
    "french": ("fr_FR", "FR"),
    "hindi": ("en_IN", "IN"),
    "italian": ("it_IT", "IT"),
    "portuguese": ("pt_BR", "BR"),
    "japanese": ("ja_JP", "JP"),
    "chinese": ("zh_CN", "CN"),
}
_AREA_CODES = ("202", "303", "415", "512", "617", "718", "808", "916")


def invent(accent: str, patience: str, seed: int) -> Persona:
    """Return the persona of a call; equal arguments give an equal persona, whatever was invented before."""
    locale, region = _REGIONS.get(accent.removesuffix("-l1"), ("en_US", "US"))
    faker = _faker(locale)
    faker.seed_instance(seed)
    name = faker.romanized_name() if hasattr(faker, "romanized_name") else faker.name()
    return Persona(name, _number(region, random.Random(f"{seed}/number")), region, accent, patience)


@cache
def _faker(locale: str) -> Faker:
    return Faker(locale)


def _number(region: str, rng: random.Random) -> str:
    """Return a number no person has: Ofcom's drama range for Britain, 555-01xx of North America for everyone else."""
    if region == "GB":
        return f"+447700900{rng.randrange(1000):03d}"
    return f"+1{rng.choice(_AREA_CODES)}55501{rng.randrange(100):02d}"
