"""What vLLM calls, in every one of its processes, to learn of `gpt_moe` (entry point group `vllm.general_plugins`).

The model is registered by name, so that vLLM imports it only where it runs. `VLLM_PLUGINS`, if it is set, must list
`moesaic`.
"""

__all__ = ["ARCHITECTURE", "register"]

ARCHITECTURE = "GPTMoEForCausalLM"


def register() -> None:
    """Make the configuration and the model known, and the CPU worker ours; may be called more than once."""
    from vllm.model_executor.models.registry import ModelRegistry

    import moesaic.model.config  # noqa: F401  (registers the configuration with transformers)
    from moesaic.server.engine.worker_class import use_moesaic_worker

    use_moesaic_worker()
    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, f"moesaic.server.engine.vllm_model:{ARCHITECTURE}")
