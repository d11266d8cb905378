"""A served model in LangChain, with an answer of a fixed form: python examples/langchain_chat.py [TARGET]."""

import sys

from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel, Field

from moesaic.chains import ChatMoesaic


class City(BaseModel):
    """A city and its country."""

    city: str = Field(max_length=40)
    country: str = Field(max_length=40)


def main(target: str) -> None:
    """Ask in words, then for an object."""
    model = ChatMoesaic(target=target, temperature=0, max_tokens=64)
    chain = ChatPromptTemplate.from_messages([("system", "Answer briefly."), ("user", "{question}")]) | model
    for chunk in chain.stream({"question": "Which city is the capital of France?"}):
        print(chunk.text, end="", flush=True)
    print()
    print(model.with_structured_output(City).invoke("Paris is the capital of France."))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051")
