"""Ask a knowledge base and show what the answer rests on: python examples/rag.py QUESTION [TARGET]."""

import sys

from moesaic.chains import RagChain
from moesaic.retrieval import KnowledgeHome


def main(question: str, target: str = "127.0.0.1:50051") -> None:
    """Stream the answer, then print its citations; `moesaic kb add demo …` makes the base."""
    with KnowledgeHome().open("demo") as base:
        for part in RagChain(base=base, target=target).stream(question):
            print(part.text, end="", flush=True)
            if part.answer is not None:
                print("\n" + ("declined" if part.answer.declined else "based on:"))
                for citation in part.answer.citations:
                    print(f"  {citation.document} {citation.start}-{citation.end}: {citation.quote!r}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
