"""From text to a model artifact: data, tokenizer, recipes that train and tune, and refreshes of a served model.

What changes weights belongs here. Training and server are siblings that never import each other: they meet through an
artifact or a registry on disk (`moesaic.artifact`), and through the gRPC client.

recipe.py         one TOML file that says everything about a run; recipe_table.py reads it
pretraining.py    pretrain: a run from its recipe to its artifact; command.py: the same as a command
trainer.py        Trainer: the loop; training_step.py: one step; checkpoint.py, run_folder.py: what is kept of it
batch.py          what a step sees; data_source.py, text_source.py: where it comes from
data/             raw text to shards of tokens
tokenizer/        learning, comparing and extending tokenizers
router_losses/    what keeps experts balanced and apart; router_objective.py: how a step asks for it
optimizers/       AdamW, Muon over experts, LAMB, 8 bits; schedule.py, spike_guard.py, gradient_shrink.py
adaptation/       in which order and mixture to go on with a field's text
tuning/           examples, what of a model is trained, classifiers of pairs
refresh/          a new version against the served one, behind a gate
evaluation.py     held-out loss in bits per byte; expert_health.py, metrics and plots.py: what happens meanwhile
processes.py      one process or several; model_runner.py: a model under precision and sharding
"""
