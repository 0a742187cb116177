"""One text, several, one list of token ids, or several: the four forms of a prompt and of an embedding's input."""

from typing import Annotated

from msgspec import Meta

from yunmo.core.errors import InvalidRequest

TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
PromptBody = str | Annotated[list[str | TokenId | list[TokenId]], Meta(min_length=1)]


def prompts_of(body: PromptBody, param: str, limit: int, *, may_be_empty: bool) -> list[str | tuple[int, ...]]:
    """Each prompt as a text or as token ids. Raises InvalidRequest for a mixture, an empty one, or more than `limit`."""
    if isinstance(body, str):
        prompts: list[str | tuple[int, ...]] = [body]
    elif all(isinstance(each, int) for each in body):
        prompts = [tuple(body)]  # type: ignore[arg-type]  # `all` has looked at each
    else:
        prompts = [_prompt(each, param) for each in body]
        if len({type(each) for each in prompts}) > 1:
            raise InvalidRequest(f"'{param}' mixes texts and lists of token ids. Send one kind.", param=param)
    if len(prompts) > limit:
        raise InvalidRequest(f"'{param}' has {len(prompts)} items; at most {limit} are taken at once. Send several requests.", param=param)
    if not may_be_empty and not all(prompts):
        raise InvalidRequest(f"'{param}' has an empty item. Leave it out.", param=param)
    if any(each == () for each in prompts):
        raise InvalidRequest(f"'{param}' has an empty list of token ids.", param=param)
    return prompts


def _prompt(each: str | int | list[int], param: str) -> str | tuple[int, ...]:
    if isinstance(each, int):
        raise InvalidRequest(f"'{param}' mixes token ids with texts or lists. Send one kind.", param=param)
    return each if isinstance(each, str) else tuple(each)
