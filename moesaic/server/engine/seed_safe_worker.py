"""The worker class that `moesaic.server.engine.seeds` describes; vLLM imports it by name where the model runs."""

from vllm.v1.core.sched.output import GrammarOutput
from vllm.v1.outputs import AsyncModelRunnerOutput, ModelRunnerOutput
from vllm.v1.worker.cpu_model_runner import CPUModelRunner
from vllm.v1.worker.cpu_worker import CPUWorker

from moesaic.server.engine.seeds import unfinished_prompts_set_aside

__all__ = ["SeedSafeCPUWorker"]


class SeedSafeCPUWorker(CPUWorker):
    """vLLM's CPU worker, but a prompt that is not complete yet takes no number from its request's generator."""

    def sample_tokens(self, grammar_output: GrammarOutput | None) -> ModelRunnerOutput | AsyncModelRunnerOutput:
        """Sample the tokens of one step."""
        runner = self.model_runner
        if not isinstance(runner, CPUModelRunner):  # vLLM's second runner keeps seeds without generators
            return super().sample_tokens(grammar_output)

        with unfinished_prompts_set_aside(runner):
            return super().sample_tokens(grammar_output)
