"""The worker class that runs the model on a CPU; vLLM imports it by name (see `worker_class`)."""

from typing import Any

from vllm.config import CompilationMode
from vllm.v1.core.sched.output import GrammarOutput
from vllm.v1.outputs import AsyncModelRunnerOutput, ModelRunnerOutput
from vllm.v1.worker.cpu_model_runner import CPUModelRunner
from vllm.v1.worker.cpu_worker import CPUWorker

from moesaic.server.engine.fused_norms import use_fused_norms
from moesaic.server.engine.seeds import unfinished_prompts_set_aside

__all__ = ["MoesaicCPUWorker"]


class MoesaicCPUWorker(CPUWorker):
    """vLLM's CPU worker with two differences.

    1. A prompt that is not complete yet takes no number from its request's generator (`seeds`).
    2. Where nothing is compiled, normalisations run as one operation each (`fused_norms`); a compiler fuses by itself.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.compilation_config.mode == CompilationMode.NONE:
            use_fused_norms()

    def sample_tokens(self, grammar_output: GrammarOutput | None) -> ModelRunnerOutput | AsyncModelRunnerOutput:
        """Sample the tokens of one step."""
        runner = self.model_runner
        if not isinstance(runner, CPUModelRunner):  # vLLM's second runner keeps seeds without generators
            return super().sample_tokens(grammar_output)

        with unfinished_prompts_set_aside(runner):
            return super().sample_tokens(grammar_output)
