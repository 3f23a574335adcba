"""The keywords of TrainingArguments that are used as in transformers, with a line on what each does."""

from __future__ import annotations

from collections.abc import Mapping

_LENGTH = {
    "num_train_epochs": "Number of passes over train.",
    "max_steps": "Number of steps, in place of epochs; -1 for none.",
    "learning_rate": "Largest step of the optimizer; where none is given, it follows the model.",
    "lr_scheduler_type": "How the learning rate changes over the steps.",
    "lr_scheduler_kwargs": "Keywords of that schedule.",
    "warmup_steps": "Steps in which the learning rate rises: a share of all steps below 1, else their number.",
}
_OPTIMIZER = {
    "optim": "Optimizer.",
    "optim_args": "Arguments of the optimizer, as a text `name=value,name=value`.",
    "optim_target_modules": "Modules that GaLore and Apollo work on, by name or pattern.",
    "weight_decay": "Weight decay of all weights but biases and norms.",
    "adam_beta1": "First beta of AdamW.",
    "adam_beta2": "Second beta of AdamW.",
    "adam_epsilon": "Epsilon of AdamW.",
    "max_grad_norm": "Length at which gradients are clipped; 0 for none.",
    "label_smoothing_factor": "Share of the probability that is spread over all labels.",
    "neftune_noise_alpha": "Strength of the noise that NEFTune adds to embeddings; 5 to 15 is usual.",
}
_BATCHES = {
    "per_device_train_batch_size": "Rows of a batch on each device in training.",
    "per_device_eval_batch_size": "Rows of the longest length in a batch on each device when rows are scored.",
    "gradient_accumulation_steps": "Batches whose gradients are added up before a step.",
    "auto_find_batch_size": "Whether batches become smaller when memory is short.",
    "train_sampling_strategy": "Order of the rows: by length in mixed batches, at random, or as they are.",
    "dataloader_num_workers": "Number of processes that load batches; 0 loads them in the process of the training.",
    "dataloader_pin_memory": "Whether batches are put into memory from which a GPU copies faster.",
    "dataloader_prefetch_factor": "Batches that each of these processes loads ahead.",
    "dataloader_multiprocessing_context": "How these processes are started.",
}
_PRECISION = {
    "bf16": "Whether to train in bfloat16; decided by the machine if not given.",
    "fp16": "Whether to train in float16, which needs a GPU.",
    "bf16_full_eval": "Whether to score with weights in bfloat16.",
    "fp16_full_eval": "Whether to score with weights in float16.",
    "tf32": "Whether GPUs from Ampere on multiply in TF32.",
    "activation_checkpointing": "Whether activations are computed again in the backward pass: less memory, more time.",
    "activation_checkpointing_kwargs": "Keywords for that.",
    "gradient_checkpointing": "Older name of `activation_checkpointing`.",
    "gradient_checkpointing_kwargs": "Older name of `activation_checkpointing_kwargs`.",
    "torch_compile": "Whether the model is compiled, which takes minutes and pays off in long trainings.",
    "torch_compile_backend": "Backend of the compilation.",
    "torch_compile_mode": "Mode of the compilation.",
    "use_cache": "Whether the model keeps keys and values in training, which costs memory.",
    "torch_empty_cache_steps": "Steps after which unused GPU memory is given back; null for never.",
    "eval_accumulation_steps": "Batches after which outputs are moved to the CPU when rows are scored.",
    "eval_use_gather_object": "Whether outputs that are no tensors are gathered from all processes.",
    "use_cpu": "Whether to train on the CPU where there is a GPU too.",
}
_EVALUATION = {
    "eval_strategy": "When validation is scored: after each epoch, by `eval_steps`, or only after training (no).",
    "eval_steps": "Steps between two evaluations; below 1, as a share of all steps.",
    "eval_delay": "Epochs or steps before the first evaluation.",
    "eval_on_start": "Whether validation is scored before the first step too.",
    "save_strategy": "When a checkpoint is saved; as `eval_strategy` if not given.",
    "save_steps": "Steps between two checkpoints; below 1, as a share of all steps.",
    "save_total_limit": "Number of checkpoints that are kept; null for all.",
    "save_only_model": "Whether checkpoints have the weights alone, so that a run cannot be resumed.",
    "save_on_each_node": "Whether each machine saves checkpoints, and not the first one alone.",
    "enable_jit_checkpoint": "Whether a checkpoint is saved when SIGTERM arrives.",
    "load_best_model_at_end": "Whether the result is the checkpoint with the best validation score, and not the last.",
    "metric_for_best_model": "Metric that chooses that checkpoint; the first one of the task if not given.",
    "greater_is_better": "Whether higher values of that metric are better; the task knows it for its own metrics.",
    "ignore_data_skip": "Whether a run that is resumed starts its epoch again, in place of going on within it.",
    "restore_callback_states_from_checkpoint": "Whether a run that is resumed remembers its early stopping.",
}
_LOGGING = {
    "logging_strategy": "When losses are logged: after each epoch, by `logging_steps`, or never (no).",
    "logging_steps": "Steps between two logs; below 1, as a share of all steps.",
    "logging_first_step": "Whether the first step is logged too.",
    "log_on_each_node": "Whether each machine logs, and not the first one alone.",
    "include_num_input_tokens_seen": "Which tokens are counted in training, for the log.",
    "log_level": "Log level of transformers.",
    "log_level_replica": "Log level of transformers in the other processes.",
    "disable_tqdm": "Whether to show no progress bar.",
    "report_to": "Trackers that get the log, such as tensorboard, wandb or trackio; none, or all installed.",
    "run_name": "Name of the run for the tracker.",
    "project": "Name of the project for trackio.",
    "trackio_space_id": "Space on the Hub that shows the log of trackio.",
    "trackio_bucket_id": "Bucket on the Hub that keeps the log of trackio.",
    "trackio_static_space_id": "Static Space on the Hub for the log of trackio; false for none.",
    "skip_memory_metrics": "Whether the memory of each stage is not measured, since that takes time.",
}
_SEEDS = {
    "seed": "Seed of everything that is random: splits, head, order of rows, dropout.",
    "data_seed": "Another seed for the order of rows; null for `seed`.",
    "full_determinism": "Whether operations on a GPU are exactly repeatable, which is slower.",
}
_PROCESSES = {
    "accelerator_config": "Keywords of Accelerate, of which few can be set.",
    "ddp_find_unused_parameters": "Whether weights without gradient are looked for in each step.",
    "ddp_bucket_cap_mb": "Megabytes of gradients that are exchanged at once.",
    "ddp_broadcast_buffers": "Whether buffers of the model are sent to all processes.",
    "ddp_static_graph": "Whether each step uses the same weights, which is faster.",
    "ddp_backend": "What the processes talk by.",
    "ddp_timeout": "Seconds after which a process that does not answer is an error.",
}
WORKS_BY_GROUP: Mapping[str, Mapping[str, str]] = {
    "Length and learning rate": _LENGTH,
    "Optimizer and regularization": _OPTIMIZER,
    "Batches": _BATCHES,
    "Precision, memory, speed": _PRECISION,
    "Evaluation and checkpoints": _EVALUATION,
    "Logs and trackers": _LOGGING,
    "Seeds": _SEEDS,
    "Several processes": _PROCESSES,
}
WORKS: Mapping[str, str] = {
    **_LENGTH,
    **_OPTIMIZER,
    **_BATCHES,
    **_PRECISION,
    **_EVALUATION,
    **_LOGGING,
    **_SEEDS,
    **_PROCESSES,
}
"""Keyword -> what it does; values out of range, and those without effect, are refused or printed."""
