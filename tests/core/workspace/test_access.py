"""Tokens: what was signed comes back, anything else is refused."""

from __future__ import annotations

import pytest

from core.errors import AccessDenied
from core.workspace.access import LIFE_SECONDS, STEP_SECONDS, Access, check, expiry, sign

ACCESS = Access(3, 5, "Ada", "s1", True, expiry(1_000_000))


def test_a_token_says_what_was_signed_until_it_ends() -> None:
    token = sign("secret", ACCESS)
    assert check("secret", token, now=1_000_000) == ACCESS
    assert check("secret", token, now=ACCESS.expires - 1) == ACCESS
    with pytest.raises(AccessDenied):
        check("secret", token, now=ACCESS.expires)


def test_tokens_of_one_span_are_alike_and_live_long_enough() -> None:
    assert expiry(1_200_000) == expiry(1_200_000 + STEP_SECONDS - 1)
    assert LIFE_SECONDS - STEP_SECONDS <= expiry(1_234_567) - 1_234_567 <= LIFE_SECONDS


@pytest.mark.parametrize("place", [0, 5, 40, -2])
def test_forged_tokens_are_refused(place: int) -> None:
    token = sign("secret", ACCESS)
    changed = list(token)
    changed[place] = "A" if changed[place] != "A" else "B"
    for wrong in ("".join(changed), token[:-5], "", ".", "a.b", "ä.ö", sign("other", ACCESS)):
        with pytest.raises(AccessDenied):
            check("secret", wrong, now=1_000_000)
