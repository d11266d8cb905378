"""From sources to shards: every stage counts, killed runs end with the same bytes, unchanged ones do nothing."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from moesaic.artifact.staging import lock_folder, unlock_folder
from moesaic.errors import CorpusError, RecipeError, RunBusyError, TokenizerError
from moesaic.training.data.data_config import DataConfig
from moesaic.training.data.preparation import prepare, prepare_texts
from moesaic.training.data.prepared import PreparedData
from moesaic.training.data.shard_reader import ShardReader
from tests.repository import ROOT
from tests.training.data.byte_encoder import ByteEncoder
from tests.training.data.text_samples import CHINESE, ENGLISH, changed_words, random_words

SECRET = "Write to the secretary of the committee at jane.doe@town.org if you have to."
NAMES = ["alder", "birch", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel", "ironwood", "juniper"]


def article(seed: int) -> str:
    """An English text that keeps the rules, of its own words."""
    generator = random.Random(seed)
    lines = []
    for _ in range(6):
        words = ["the", *random_words(generator, 14), "of", "the", "town", "and", "that", *random_words(generator, 6)]
        lines.append(" ".join(words) + ".")
    return "\n".join(lines)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Two corpora: JSON lines with copies, near-copies, junk and private data, and a folder of Chinese."""
    texts = [article(seed) for seed in range(40)]
    near = " ".join(changed_words(random.Random(0), (texts[3] + " " + texts[4]).split(" "), 0.004))
    texts += [
        texts[0],
        texts[1] + " \n",
        texts[3] + " " + texts[4],
        near,
        "too short of the and",
        f"{ENGLISH} {SECRET}",
    ]
    (tmp_path / "general.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    folder = tmp_path / "chinese"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        generator = random.Random(number)
        lines = ["".join(chr(generator.randrange(0x4E00, 0x8000)) for _ in range(40)) + "。" for _ in range(4)]
        (folder / f"{name}.txt").write_text("\n".join(lines))
    return tmp_path


def config(place: Path, **changes: Any) -> DataConfig:
    table: dict[str, Any] = {
        "folder": str(place / "work"),
        "sources": [
            {"name": "general", "paths": [str(place / "general.jsonl")], "ratio": 3},
            {"name": "chinese", "paths": str(place / "chinese"), "ratio": 1},
        ],
        "shard_tokens": 3000,
        "held_out": 0.1,
    }
    return DataConfig.from_mapping(table | changes)


def tokens(prepared: PreparedData) -> dict[str, list[list[int]]]:
    shards = {f"{name}/train": path for name, path in prepared.train.items()}
    shards |= {f"{name}/held_out": path for name, path in prepared.held_out.items()}
    return {name: [ids.tolist() for ids in ShardReader(path)] for name, path in shards.items()}


def text_of(ids: list[int]) -> str:
    assert ids[-1] == 0
    return bytes(token - 1 for token in ids[:-1]).decode()


def test_all_stages_together(sources: Path) -> None:
    prepared = prepare(config(sources), tokenizer=ByteEncoder())
    stages = prepared.report["stages"]
    assert list(stages) == ["1-read", "2-clean", "3-dedup", "5-mask", "8-shards"]
    assert stages["1-read"]["documents"] == {"general": 46, "chinese": 10}
    assert stages["2-clean"]["documents"] == {"general": 45, "chinese": 10}
    dedup = stages["3-dedup"]["details"]
    # The longer text takes the place of the two that it is made of only if they are alike enough: they are not.
    assert dedup["exact"]["removed"] == 2
    assert dedup["near"]["removed"] == 1
    assert stages["5-mask"]["details"]["masked"]["email"] == 1
    split = stages["8-shards"]
    assert split["general"]["train"]["documents"] + split["general"]["held_out"]["documents"] == 42
    assert split["general"]["held_out"]["documents"] == 5
    assert split["chinese"]["held_out"]["documents"] == 1
    found = tokens(prepared)
    texts = [text_of(ids) for documents in found.values() for ids in documents]
    assert len(set(texts)) == len(texts) == 52
    assert sum("<EMAIL>" in text for text in texts) == 1
    assert not any("jane.doe" in text for text in texts)
    for name in ("train", "held_out"):
        counted = sum(len(text_of(ids).encode()) for ids in found[f"general/{name}"])
        assert split["general"][name]["text_bytes"] == counted
    assert prepared.report["composition"]["corpora"]["chinese"]["languages"] == {"zh": 10}
    assert (sources / "work" / "report.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_prepared_opens_elsewhere_and_gives_batches(sources: Path) -> None:
    made = prepare(config(sources), tokenizer=ByteEncoder())
    opened = PreparedData.open(sources / "work")
    assert opened == made
    mixed = opened.mixture(sequence_length=32, rows=8)
    ids = mixed.next().input_ids_BS
    assert ids.shape == (8, 32)
    # UTF-8 of Chinese begins with bytes from 0xe4 on, English has none.
    assert int((ids.max(dim=1).values > 0xE0).sum()) == 2
    only = opened.mixture(sequence_length=32, rows=2, ratios={"chinese": 1.0}, rank=1, world_size=2)
    assert only.next().input_ids_BS.shape == (1, 32)
    assert len(opened.held_out_reader("chinese")) == 1
    with pytest.raises(CorpusError, match="names 'other'"):
        opened.mixture(sequence_length=32, rows=2, ratios={"other": 1.0})
    shutil.move(sources / "work", sources / "moved")
    assert len(PreparedData.open(sources / "moved").held_out_reader("general")) == 5


def test_an_unchanged_run_does_nothing_and_a_change_runs_from_there_on(sources: Path) -> None:
    first = prepare(config(sources), tokenizer=ByteEncoder())
    encoder, stages = ByteEncoder(), set[str]()

    def told(stage: str, done: int, total: int) -> None:
        stages.add(stage)

    assert prepare(config(sources), tokenizer=encoder, progress=told).digest == first.digest
    assert encoder.encoded == 0
    assert stages == set()
    changed = prepare(config(sources, mask=False), tokenizer=ByteEncoder(), progress=told)
    assert changed.digest != first.digest
    assert stages == {"8-shards"}
    ratios = [{"name": "general", "paths": [str(sources / "general.jsonl")]}]
    stages.clear()
    prepare(config(sources, sources=ratios), tokenizer=ByteEncoder(), progress=told)
    assert "2-clean" in stages


def test_a_changed_source_is_seen(sources: Path) -> None:
    first = prepare(config(sources), tokenizer=ByteEncoder())
    (sources / "chinese" / "new.txt").write_text(CHINESE)
    second = prepare(config(sources), tokenizer=ByteEncoder())
    assert second.digest != first.digest
    assert CHINESE in [text_of(ids) for part in ("train", "held_out") for ids in tokens(second)[f"chinese/{part}"]]


def test_damage_to_a_stage_is_mended(sources: Path) -> None:
    first = prepare(config(sources), tokenizer=ByteEncoder())
    before = tokens(first)
    for path in [*(sources / "work").glob("3-dedup-*/documents.jsonl"), first.train["general"] / "00000.tokens"]:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    again = prepare(config(sources), tokenizer=ByteEncoder())
    assert tokens(again) == before
    (again.train["chinese"] / "00000.offsets").unlink()
    assert tokens(prepare(config(sources), tokenizer=ByteEncoder())) == before


# In a stage that it is told it waits to be killed: whoever kills it may not be scheduled for a while.
KILLED = """
import sys
from pathlib import Path
from moesaic.training.data.preparation import prepare
from tests.training.data.test_preparation import ByteEncoder, config

sources, waits_in = Path(sys.argv[1]), sys.argv[2]

def wait():
    print("waits", flush=True)
    sys.stdin.read()

class Waiting(ByteEncoder):
    def encode(self, text):
        if waits_in == "8-shards" and list(sources.glob("work/8-shards-*/general/train/00001.tokens")):
            wait()
        return super().encode(text)

def told(stage, done, total):
    print(stage, flush=True)
    if stage == waits_in == "2-clean":
        wait()

encoder = Waiting()
prepared = prepare(config(sources), tokenizer=encoder, progress=told)
print("encoded", encoder.encoded, flush=True)
"""


def start(sources: Path, waits_in: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", KILLED, str(sources), waits_in]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    }
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=environment)


def test_killed_runs_go_on_and_end_with_the_same_bytes(sources: Path) -> None:
    """Killed while a text stage runs, then while shards are written."""
    work = sources / "work"
    for stage in ("2-clean", "8-shards"):
        with start(sources, stage) as process:
            assert process.stdout is not None
            assert "waits" in map(str.strip, process.stdout)
            process.send_signal(signal.SIGKILL)
        assert not (work / "prepared.json").exists()
    with start(sources) as process:
        output, _ = process.communicate()
    assert process.returncode == 0
    assert "2-clean" not in output
    killed = PreparedData.open(work)
    shutil.move(work, sources / "killed")
    whole = prepare(config(sources), tokenizer=ByteEncoder())
    # Of 52 documents some were encoded before the kill.
    assert int(output.split()[-1]) < 52
    assert whole.digest == killed.digest
    assert tokens(PreparedData.open(sources / "killed")) == tokens(whole)
    assert not [path.name for path in (sources / "killed").iterdir() if "partial" in path.name]


def test_selection_quality_and_decontamination_take_part(sources: Path) -> None:
    target = sources / "target.jsonl"
    target.write_text("".join(json.dumps({"text": article(seed)}) + "\n" for seed in range(100, 120)))
    exam = sources / "exam.jsonl"
    exam.write_text(json.dumps({"question": " ".join(article(7).split()[5:30]), "context": ""}) + "\n")
    made = config(
        sources,
        decontaminate={"paths": [str(exam)], "text_fields": ["question"]},
        quality={"curated": [str(target)], "corpora": ["general"], "pareto": 2.0},
        select={"target": [str(target)], "corpora": ["general"], "options": {"keep": 0.5}},
    )
    store, report = prepare_texts(made)
    stages = report["stages"]
    assert stages["4-decontaminate"]["details"]["removed"] == 1
    assert stages["4-decontaminate"]["details"]["examples"][0]["id"] == "general.jsonl:8"
    assert stages["6-quality"]["details"]["scored"] == stages["5-mask"]["documents"]["general"]
    left = stages["6-quality"]["documents"]["general"]
    assert stages["7-select"]["documents"] == {"general": round(0.5 * left), "chinese": 10}
    assert stages["7-select"]["details"]["raw"] == left
    assert len(store) == round(0.5 * left) + 10
    store, _ = prepare_texts(made, last="2-clean")
    assert len(store) == 55
    with pytest.raises(RecipeError, match="stage '9-none' is not in the recipe; its stages are 1-read"):
        prepare_texts(made, last="9-none")


def test_one_process_prepares_a_folder(sources: Path) -> None:
    (sources / "work").mkdir()
    lock = lock_folder(sources / "work", wait=False)
    assert lock is not None
    with pytest.raises(RunBusyError, match="another process prepares data"):
        prepare(config(sources), tokenizer=ByteEncoder())
    unlock_folder(lock)


def test_what_leaves_nothing_is_an_error(sources: Path) -> None:
    with pytest.raises(CorpusError, match="stage 2-clean left no document"):
        prepare(config(sources, clean={"languages": ["other"]}), tokenizer=ByteEncoder())
    with pytest.raises(CorpusError, match="nothing is left of source 'chinese' to train on"):
        prepare(config(sources, clean={"languages": ["en"]}), tokenizer=ByteEncoder())


def test_a_tokenizer_is_needed(sources: Path) -> None:
    with pytest.raises(RecipeError, match="tokenizer is not given"):
        prepare(config(sources))
    with pytest.raises(TokenizerError, match="has no tokenizer"):
        prepare(config(sources, tokenizer=str(sources)))


def test_a_folder_without_prepared_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="has no prepared data"):
        PreparedData.open(tmp_path)
    for content in ("{", "[]", "{}"):
        (tmp_path / "prepared.json").write_text(content)
        with pytest.raises(CorpusError, match="is damaged"):
            PreparedData.open(tmp_path)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"sourses": []}, r"data\.sourses is no key of \[data\]: did you mean data\.sources"),
        ({"clean": {"language": "en"}}, r"data\.clean\.language is no key .*: did you mean data\.clean\.languages"),
        ({"sources": []}, r"\[data\] sources="),
        ({"sources": [{"name": "a"}]}, r"data\.sources\[0\]\.paths is missing"),
        ({"sources": [{"name": "a", "paths": ["x"], "ratio": "much"}]}, r"ratio='much' must be a number"),
        ({"sources": [{"name": "a", "paths": [1]}]}, r"paths\[0\]=1 must be a text"),
        ({"sources": [{"name": "a", "paths": ["x"]}] * 2}, "distinct names"),
        ({"sources": [{"name": n, "paths": ["x"], **r} for n, r in [("a", {"ratio": 1}), ("b", {})]]}, "must all be"),
        ({"folder": 3}, "data.folder=3 must be a path"),
        ({"held_out": 1}, "held_out=1.0"),
        ({"held_out": True}, "held_out=True must be a number"),
        ({"seed": 1.5}, "seed=1.5 must be a whole number"),
        ({"packing": "tight"}, "packing='tight' is unknown: choose one of 'stream'"),
        ({"shard_tokens": 0}, "shard_tokens=0"),
        ({"dedup": {"threshold": 2}}, r"\[data\.dedup\] threshold=2\.0"),
        ({"dedup": 5}, "data.dedup=5 must be a table"),
        ({"clean": {"limits": {"words": [1]}}}, "limits.words.* must have 2 items"),
        ({"clean": {"limits": []}}, "limits=.* must be a table"),
        ({"mask": {"kinds": ["name"]}}, "kinds="),
        ({"quality": {"curated": ["x"], "corpora": ["none"]}}, "corpora names 'none'"),
        ({"select": {"target": ["x"], "options": {"keep": 0}}}, r"\[data\.select\.options\] keep="),
    ],
)
def test_contradictory_recipes_are_refused(sources: Path, changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        config(sources, **changes)


def test_switches(sources: Path) -> None:
    made = config(sources, clean={"limits": {"words": [False, 50]}}, dedup=True, mask=False)
    assert made.clean is not None
    assert made.clean.limits == {"words": (None, 50.0)}
    made = config(sources, clean=False, dedup=True, mask=False)
    assert (made.clean, made.mask) == (None, None)
    assert made.dedup == config(sources).dedup
    assert made.sources[1].paths == (str(sources / "chinese"),)
